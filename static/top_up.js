// Puts the amount on the button and locks it: one tap, one order.
(() => {
  'use strict';
  const form = document.querySelector('[data-top-up]');
  if (!form) return;
  const button = form.querySelector('[type=submit]');
  const other = form.elements.other_amount;
  const word = button.textContent;
  let tapped = false;
  const label = () => {
    const pick = form.elements.amount.value;
    const yuan = pick === 'other' ? other.value.trim() : pick;
    const sane = /^\d{1,6}(\.\d{1,2})?$/.test(yuan) && Number(yuan) > 0;
    button.textContent = sane ? `${word} ¥${Number(yuan).toLocaleString('en', { minimumFractionDigits: 2 })}` : word;
  };
  // A finger goes straight to the field; arrow keys stay among the choices.
  form.querySelector('[for=amount-other]').addEventListener('click', () => { tapped = true; });
  form.addEventListener('change', (e) => {
    label();
    if (tapped && e.target.value === 'other') other.focus();
    tapped = false;
  });
  form.addEventListener('input', label);
  form.addEventListener('submit', () => {
    button.disabled = true;
    button.setAttribute('aria-busy', 'true');
    button.textContent = button.dataset.busy;
  });
  // Back brings an old balance and a spent intent.
  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); else label(); });
})();
