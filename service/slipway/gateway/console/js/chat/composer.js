import { byId } from '../ui/dom.js';

/** The box a message is written in, with its send and stop buttons. Fires `send` and `stop`. */
export class Composer extends EventTarget {
  #area = /** @type {HTMLTextAreaElement} */ (byId('question'));
  #send = /** @type {HTMLButtonElement} */ (byId('send'));
  #stop = byId('stop');
  #busy = false;

  constructor() {
    super();
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#area.addEventListener('input', () => this.fit());
    this.#stop.addEventListener('click', () => this.dispatchEvent(new Event('stop')));
    addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.#busy && !document.querySelector('dialog:modal'))
        this.dispatchEvent(new Event('stop'));
    });
  }

  get text() {
    return this.#area.value.trim();
  }

  set text(text) {
    this.#area.value = text;
    this.fit();
  }

  focus() {
    this.#area.focus();
  }

  /** @param {boolean} busy an answer is being written */
  set busy(busy) {
    const focused = document.activeElement === (busy ? this.#send : this.#stop);
    this.#busy = busy;
    this.#send.hidden = busy;
    this.#stop.hidden = !busy;
    if (focused) this.focus();
  }

  #submit() {
    if (this.text && !this.#busy) this.dispatchEvent(new Event('send'));
  }

  /** Grows with the text, up to the height that the style sheet allows. It has a height only while it is seen. */
  fit() {
    this.#area.style.height = 'auto';
    this.#area.style.height = `${this.#area.scrollHeight}px`;
    this.#send.disabled = !this.text;
  }
}
