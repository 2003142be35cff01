// A click on a column's head sorts by it: numbers by value, words by name, missing values always last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const key = (row) => {
        const text = row.cells[column].textContent.trim().replaceAll(",", "");
        const number = Number.parseFloat(text);
        return { text, number, missing: Number.isNaN(number) && ["", "-", "n/a", "not run", "stale"].includes(text) };
      };
      const rows = [...body.rows].map((row) => ({ row, ...key(row) }));
      rows.sort((a, b) => {
        if (a.missing !== b.missing) return a.missing ? 1 : -1;
        const order = Number.isNaN(a.number) || Number.isNaN(b.number)
          ? a.text.localeCompare(b.text, "en", { numeric: true })
          : a.number - b.number;
        return down ? -order : order;
      });
      body.append(...rows.map((entry) => entry.row));
    });
  });
}
