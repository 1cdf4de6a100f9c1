// Beside a QR code or a link away: moves on by itself once somebody has paid or the order is over.
(() => {
  const page = document.querySelector('[data-watch]'), { status, next, life } = page.dataset;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms, {}));

  const look = async (gap) => {
    const s = await Promise.race([
      fetch(`${status}?wait=20`, { credentials: 'same-origin', cache: 'no-store' })
        .then((res) => res.json()).catch(() => ({})),
      pause(28e3),
    ]);
    if (s.paid || s.final) return location.replace(s.next || next);
    await pause(gap);
    look(s.paid === false ? 1e3 : Math.min(gap * 2, 1e4));
  };

  // What is shown can be used for so long; by the time it cannot, the page says so.
  const end = Date.now() + +life, left = page.querySelector('[data-left]');
  const [h, m, s] = left ? left.dataset.left.split(' ') : [];
  const tick = () => {
    const secs = Math.ceil((end - Date.now()) / 1e3), mins = Math.floor(secs / 60);
    if (page.dataset.state !== 'ready') return;
    if (secs <= 0) return void (page.dataset.state = 'stale');
    left.hidden = false;
    left.lastElementChild.textContent =
      mins < 60 ? `${mins} ${m} ${secs % 60} ${s}` : `${Math.floor(mins / 60)} ${h} ${mins % 60} ${m}`;
    setTimeout(tick, 1e3);
  };
  if (left) tick();

  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
  look(1e3);
})();
