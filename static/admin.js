// Lists by keyboard: j and k go from row to row, Enter opens the one that has the focus, / goes to the search box.
(() => {
  const links = [...document.querySelectorAll('[data-row] a:first-of-type')];
  const rows = links.filter((link, nth) => links.findIndex(other => other.closest('[data-row]') === link.closest('[data-row]')) === nth);
  addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const search = document.querySelector('[type=search]');
    if (event.key === '/' && search) {
      event.preventDefault();
      search.focus();
    }
    const step = { j: 1, k: -1 }[event.key];
    if (!step || !rows.length) return;
    event.preventDefault();
    const row = document.activeElement && document.activeElement.closest('[data-row]');
    const at = rows.findIndex(link => link.closest('[data-row]') === row);
    const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
    next.focus();
    next.scrollIntoView({ block: 'nearest' });
  });
})();
