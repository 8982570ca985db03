// The API's description as a readable page, from the server's own OpenAPI document. No script of others, works offline.

import { el } from "./format.js";

const METHODS = ["get", "put", "post", "delete", "patch"];
let schemas = {};

function resolve(schema) {
  const name = schema?.$ref?.split("/").pop();
  return name ? { name, ...schemas[name] } : schema ?? {};
}

function typeText(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const options = schema.oneOf ?? schema.anyOf;
  if (options) return options.map(typeText).join(" or ");
  if (schema.type === "array") return `list of ${typeText(schema.items)}`;
  if (schema.additionalProperties?.type) return `name to ${typeText(schema.additionalProperties)}`;
  if (schema.enum) return schema.enum.join(" | ");
  return [schema.type ?? "any"].flat().join(" or ");
}

function limits(schema) {
  const found = [];
  for (const option of [schema, ...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) {
    if (option.minimum !== undefined) found.push(`from ${option.minimum}`);
    if (option.maximum !== undefined) found.push(`to ${option.maximum}`);
    if (option.maxLength !== undefined) found.push(`at most ${option.maxLength} characters`);
  }
  return found.join(" ");
}

function table(rows) {
  return el("table", {}, el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))))));
}

function fields(schema) {
  const full = resolve(schema);
  const inner = full.type === "array" ? resolve(full.items) : full;
  const rows = Object.entries(inner.properties ?? {}).map(([name, field]) => [
    el("code", {}, name), typeText(field), [inner.required?.includes(name) ? "required" : "", limits(field), field.description ?? ""].filter(Boolean).join("; "),
  ]);
  return rows.length ? table(rows) : el("p", { class: "note" }, typeText(full));
}

function block(title, ...children) {
  return [el("h3", {}, title), ...children];
}

function accessText(operation) {
  const entries = operation.security ?? [];
  const roles = [...new Set(entries.flatMap((entry) => Object.values(entry).flat()))].join(" or ");
  if (!entries.length) return "open to anyone";
  return entries.some((entry) => Object.keys(entry).length === 0) ? `${roles}; open with api.open_reads` : roles;
}

function operationNode(path, method, operation) {
  const body = el("div", { class: "body" });
  if (operation.description) body.append(el("p", {}, operation.description));
  if (operation.parameters?.length) {
    body.append(...block("Parameters", table(operation.parameters.map((p) => [
      el("code", {}, p.name), `${typeText(p.schema)}, in ${p.in}`, [p.required ? "required" : "", limits(p.schema), p.description ?? p.schema.description ?? ""].filter(Boolean).join("; "),
    ]))));
  }
  const sent = operation.requestBody?.content?.["application/json"]?.schema;
  if (sent) body.append(...block("Body", fields(sent)));
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    const [type, content] = Object.entries(response.content ?? {})[0] ?? ["", {}];
    if (status >= "400") continue;
    body.append(...block(`${status}: ${type}`, fields(content.schema)));
  }
  const problems = Object.entries(operation.responses ?? {}).filter(([status]) => status >= "400");
  if (problems.length) body.append(...block("Problems", table(problems.map(([status, response]) => [el("code", {}, status), response.description, "application/problem+json"]))));
  return el("details", { id: operation.operationId },
    el("summary", {}, el("span", { class: "method" }, method.toUpperCase()), el("span", { class: "path" }, path),
      el("span", { class: "summary" }, operation.summary ?? ""), el("span", { class: "access" }, accessText(operation))), body);
}

async function main() {
  const response = await fetch("/schema/openapi.json");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const openapi = await response.json();
  schemas = openapi.components?.schemas ?? {};
  const byTag = new Map();
  for (const [path, item] of Object.entries(openapi.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = item[method].tags?.[0] ?? "other";
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push(operationNode(path, method, item[method]));
    }
  }
  document.getElementById("intro").textContent = openapi.info.description;
  document.getElementById("operations").append(...[...byTag].map(([tag, nodes]) => el("section", {}, el("h2", {}, tag), ...nodes)));
  if (location.hash) document.querySelector(location.hash)?.setAttribute("open", "");
}

main().catch((error) => {
  document.getElementById("intro").textContent = `The description could not be loaded: ${error.message}. Reload the page.`;
});
