// Everything to press that is smaller than 24 by 24 pixels (WCAG 2.2, 2.5.8).
() => {
  const targets = [...document.querySelectorAll("button, select, input, a:not(.skip), .cell[role]")].filter((node) => node.checkVisibility());
  const isSmall = (box) => box.width < 24 || box.height < 24;
  return targets.filter((node) => isSmall(node.getBoundingClientRect())).map((node) => node.id || node.className || node.textContent);
}
