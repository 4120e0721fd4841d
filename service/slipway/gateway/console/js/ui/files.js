/** Files of the person's own: one to save, one to read. */

/**
 * @param {string} name
 * @param {string | Blob} content
 * @param {string} type
 */
export function saveAs(name, content, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Asks for a file and reads it as text.
 * @param {string} accept
 * @returns {Promise<string | null>} null where none was chosen
 */
export function readFile(accept) {
  return new Promise((resolve) => {
    const input = document.createElement('input');
    input.type = 'file';
    input.accept = accept;
    input.addEventListener('change', async () => resolve((await input.files?.[0]?.text()) ?? null));
    input.addEventListener('cancel', () => resolve(null));
    input.click();
  });
}
