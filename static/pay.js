// Opens WeChat's pay sheet. What the sheet says is only reported: whether money moved is the server's word.
(() => {
  const page = document.querySelector('[data-pay]'), data = page.dataset;
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  let timer, waiting, turn = 0;

  const show = (state) => {
    clearTimeout(timer);
    data.state = state;
  };

  // On the metro a request may never settle, so it races a clock.
  const ask = (wait) => Promise.race([
    fetch(`${data.status}?wait=${wait}`, { credentials: 'same-origin', cache: 'no-store' })
      .then((res) => res.json()),
    pause(wait * 1e3 + 8e3).then(() => { throw 0; }),
  ]);
  const leave = (s) => location.replace(s.next || data.next);

  // Resolves to whether the server's last word was "not paid"; silence is not an answer.
  const poll = async (secs, wait) => {
    const end = Date.now() + secs * 1e3;
    let heard, gap = 1e3, left = secs;
    do {
      const s = await ask(Math.min(wait, Math.ceil(left))).catch(() => ({}));
      if (s.paid || s.final) {
        leave(s);
        await new Promise(() => {});
      }
      heard = s.paid === false;
      gap = heard ? 1e3 : Math.min(gap * 2, 1e4);
      await pause(gap);
      left = (end - Date.now()) / 1e3;
    } while (left > 0);
    return heard;
  };

  const settle = async (ok) => {
    const mine = ++turn;
    show('confirming');
    // A reload goes on asking and does not offer to pay again.
    if (ok) history.replaceState(0, '', '#back');
    const unpaid = await (ok ? poll(60, 20) : poll(8, 5));
    if (mine === turn) show(!ok && unpaid ? 'not-paid' : 'unknown');
  };

  const back = (res) => {
    const said = (/:(ok|cancel)$/.exec((res && res.err_msg) || '') || [0, 'fail'])[1];
    fetch(data.returned, {
      method: 'POST', credentials: 'same-origin', keepalive: true,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: `token=${encodeURIComponent(data.token)}&result=${said}`,
    }).catch(() => {});
    settle(said === 'ok');
  };

  const go = () => {
    show('opening');
    waiting = !window.WeixinJSBridge;
    if (waiting) timer = setTimeout(show, 3e3, 'no-bridge');
    else try {
      WeixinJSBridge.invoke('getBrandWCPayRequest', JSON.parse(data.params), back);
    } catch (e) { back(); }
  };

  // A sheet that closed without a callback earns a longer look.
  const glance = (wait, open = data.state === 'opening') => ask(wait).then((s) => {
    if (s.paid) leave(s);
    else if (!wait && open) glance(20);
  }).catch(() => {});

  page.onclick = (e) => {
    if (e.target.closest('[data-go]')) go();
    if (e.target.closest('[data-again]')) settle(true);
  };
  document.addEventListener('WeixinJSBridgeReady', () => { if (waiting) go(); });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) glance(0); });
  // iOS restores the page with its old script state.
  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); else glance(0); });
  if (location.hash) settle(true);
})();
