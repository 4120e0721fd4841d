const OPEN = '<think>';
const CLOSE = '</think>';

/**
 * Takes the thoughts out of an answer that starts with `<think>…</think>`, as reasoning models write them
 * where the engine does not part them itself. The tags may be cut anywhere between two pieces.
 */
export class ThoughtSplitter {
  /** @type {'start' | 'inside' | 'outside'} */
  #state = 'start';
  #held = '';

  /**
   * @param {string} piece
   * @returns {{reasoning: string, text: string}}
   */
  push(piece) {
    if (this.#state === 'outside') return { reasoning: '', text: piece };
    this.#held += piece;
    if (this.#state === 'start') {
      const beginning = this.#held.trimStart();
      if (beginning.length < OPEN.length && OPEN.startsWith(beginning)) return { reasoning: '', text: '' };
      if (!beginning.startsWith(OPEN)) return this.#rest();
      this.#held = beginning.slice(OPEN.length);
      this.#state = 'inside';
    }
    const end = this.#held.indexOf(CLOSE);
    if (end >= 0) {
      const reasoning = this.#held.slice(0, end);
      this.#held = this.#held.slice(end + CLOSE.length).trimStart();
      return { reasoning, text: this.#rest().text };
    }
    const sure = this.#held.length - cutTail(this.#held);
    const reasoning = this.#held.slice(0, sure);
    this.#held = this.#held.slice(sure);
    return { reasoning, text: '' };
  }

  /** What was held back when the answer ended. */
  finish() {
    return this.#state === 'inside' ? { reasoning: this.#held, text: '' } : this.#rest();
  }

  #rest() {
    const text = this.#held;
    this.#held = '';
    this.#state = 'outside';
    return { reasoning: '', text };
  }
}

/** How many characters at the end may be the beginning of the closing tag. @param {string} text */
function cutTail(text) {
  for (let length = Math.min(CLOSE.length - 1, text.length); length > 0; length -= 1)
    if (CLOSE.startsWith(text.slice(-length))) return length;
  return 0;
}
