// A classic script in the head: it sets the colours before the first paint, so that nothing flashes.
(() => {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const current = () => root.dataset.theme ?? (system.matches ? 'dark' : 'light');
  try {
    const chosen = localStorage.getItem('slipway.theme');
    if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;
  } catch {
    // No storage: the system's colours are used.
  }

  addEventListener('click', (event) => {
    const button = event.target instanceof Element && event.target.closest('[data-action="theme"]');
    if (!button) return;
    const next = current() === 'dark' ? 'light' : 'dark';
    const follows = next === (system.matches ? 'dark' : 'light');
    if (follows) delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (follows) localStorage.removeItem('slipway.theme');
      else localStorage.setItem('slipway.theme', next);
    } catch {
      // The choice then holds for this page only.
    }
  });
})();
