// Copy buttons stay hidden until this runs; old webviews have no clipboard API.
document.querySelectorAll('[data-copy]').forEach((button) => {
  const label = button.firstChild, word = label.data;
  button.hidden = false;
  button.onclick = async () => {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch (e) {
      const box = document.createElement('textarea');
      box.value = text;
      button.after(box);
      box.select();
      document.execCommand('copy');
      box.remove();
    }
    label.data = `${button.dataset.copied} `;
    setTimeout(() => { label.data = word; }, 2e3);
  };
});
