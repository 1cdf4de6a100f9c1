// Stands in for the bridge the WeChat browser injects. Served by the simulator only: it checks the
// page's signature there and opens the simulated pay sheet over the page.
'use strict';
(() => {
  if (window.WeixinJSBridge) return;
  const simulator = new URL(document.currentScript.src).origin;
  const PAY = 'getBrandWCPayRequest';
  let open = null;

  const report = (callback, outcome, reason) => {
    const message = { err_msg: `get_brand_wcpay_request:${outcome}` };
    if (reason) message.err_desc = reason;
    if (typeof callback === 'function') callback(message);
  };

  // Styles go through the CSSOM because the merchant's policy forbids style attributes.
  const dress = (element, styles) => Object.entries(styles).forEach(([name, value]) => {
    element.style.setProperty(name, value);
  });

  function sheet(prepayId, callback) {
    const root = document.documentElement;
    const focused = document.activeElement;
    const overflow = root.style.overflow;
    const frame = document.createElement('iframe');
    frame.title = '模拟收银台 SIMULATOR';
    frame.src = `${simulator}/cashier?prepay_id=${encodeURIComponent(prepayId)}`;
    dress(frame, {
      position: 'fixed', inset: '0', width: '100%', height: '100%', border: '0',
      'z-index': '2147483647', background: '#ededed',
    });
    const close = (outcome) => {
      window.removeEventListener('message', hear);
      window.removeEventListener('keydown', escape);
      frame.remove();
      root.style.overflow = overflow;
      if (focused instanceof HTMLElement) focused.focus();
      open = null;
      report(callback, outcome);
    };
    const hear = (event) => {
      if (event.origin !== simulator || event.source !== frame.contentWindow) return;
      const said = event.data;
      if (!said || said.from !== 'shouyin-simulator' || said.prepay_id !== prepayId) return;
      const outcome = /^get_brand_wcpay_request:(ok|cancel|fail)$/.exec(said.err_msg);
      if (outcome) close(outcome[1]);
    };
    const escape = (event) => { if (event.key === 'Escape') close('cancel'); };
    window.addEventListener('message', hear);
    window.addEventListener('keydown', escape);
    frame.addEventListener('load', () => frame.focus());
    root.style.overflow = 'hidden';
    document.body.append(frame);
  }

  async function pay(params, callback) {
    if (open) return report(callback, 'fail', '已经有一个收银台');
    open = params;
    let answer;
    try {
      const response = await fetch(`${simulator}/bridge/check`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(params),
        credentials: 'omit',
      });
      answer = await response.json();
    } catch {
      answer = { ok: false, reason: '模拟器没有应答，或本页的来源不是它认得的商户域名' };
    }
    if (answer.ok) return sheet(answer.prepay_id, callback);
    open = null;
    console.warn(`simulator: ${answer.reason}`);
    report(callback, 'fail', answer.reason);
  }

  const ready = () => {
    window.WeixinJSBridge = {
      invoke(name, params, callback) {
        if (name === PAY) pay(params, callback);
        else if (typeof callback === 'function') callback({ err_msg: `${name}:fail, not simulated` });
      },
    };
    document.dispatchEvent(new Event('WeixinJSBridgeReady'));
  };
  // The real bridge appears some time after the page; a page must work with either order.
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', ready, { once: true });
  else setTimeout(ready);
})();
