// Beside the QR code: moves on by itself once the phone has paid or the order is over.
(() => {
  const { status, next } = document.querySelector('[data-watch]').dataset;
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

  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
  look(1e3);
})();
