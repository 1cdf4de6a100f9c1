// Lists by keyboard: j and k go from row to row, Enter opens the one that has the focus, / goes to the search box.
(() => {
  const rows = [...document.querySelectorAll('[data-row]')];
  const search = document.querySelector('[type=search]');
  addEventListener('keydown', event => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
    }
    const step = { j: 1, k: -1 }[event.key];
    if (!step || !rows.length) return;
    event.preventDefault();
    const at = rows.findIndex(row => row.contains(document.activeElement));
    const row = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
    row.querySelector('a').focus();
    row.scrollIntoView({ block: 'nearest' });
  });
})();
