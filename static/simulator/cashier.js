// The pay sheet: tells the merchant's page the result once, and keeps a double click from paying twice.
'use strict';
(() => {
  const { result, prepayId, origin } = document.body.dataset;
  if (result && window.parent !== window) {
    window.parent.postMessage(
      { from: 'shouyin-simulator', prepay_id: prepayId, err_msg: `get_brand_wcpay_request:${result}` },
      origin,
    );
  }
  for (const form of document.forms) {
    form.addEventListener('submit', () => {
      // After this turn, so that the pressed button still chooses where the form goes.
      setTimeout(() => form.querySelectorAll('button').forEach((button) => { button.disabled = true; }));
    });
  }
  // A page brought back from the back/forward cache must not stay dead.
  window.addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
})();
