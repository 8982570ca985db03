// The classes of everything visible that is not grey.
() => {
  const isColoured = (colour) => {
    const [r, g, b] = (colour.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
    return Math.max(r, g, b) - Math.min(r, g, b) > 48;
  };
  const visible = [...document.querySelectorAll("main *")].filter((node) => node.checkVisibility());
  const styles = (node) => [getComputedStyle(node).color, getComputedStyle(node).backgroundColor, getComputedStyle(node).borderTopColor];
  return visible.filter((node) => styles(node).some(isColoured)).map((node) => node.className || node.tagName);
}
