// What the map and the table say of each unit.
() => [
  Object.fromEntries([...document.querySelectorAll("#map .cell")].map((cell) => [cell.dataset.unit, cell.getAttribute("aria-label")])),
  Object.fromEntries([...document.querySelectorAll("#unit-table tbody tr")].map((row) => [row.dataset.unit, row.children[1].textContent])),
]
