/** Shows Markdown while it is being written, at a cost that grows with the answer's length and no faster. */

import { codeBlock } from './code.js';
import { blocks, render } from './markdown.js';

/** Drawing takes at most this part of the time: after a draw of d ms the next one waits (SHARE - 1) * d. */
const SHARE = 5;
const LONGEST_WAIT_MS = 400;

/**
 * Blocks that are finished are rendered once and never touched again; only the last, open one is drawn anew,
 * at most once a frame, and an open code block only grows.
 */
export class MarkdownStream {
  #root;
  #source = '';
  /** Where the open block starts. */
  #start = 0;
  /** @type {Node[]} nodes of the open block */
  #open = [];
  /** @type {ReturnType<typeof codeBlock> & {language: string} | null} */
  #code = null;
  /** @type {Record<string, any>} */
  #links = {};
  #frame = 0;
  #notBefore = 0;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /** @param {string} text */
  push(text) {
    this.#source += text.replaceAll('\r\n', '\n');
    this.#frame ||= requestAnimationFrame(() => this.#tick());
  }

  /** Draws what is left. The answer is complete. */
  finish() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#draw();
    this.#code?.finish();
    // A definition may come after the text that refers to it: then, and only then, all is drawn once more.
    if (Object.keys(this.#links).length)
      this.#root.replaceChildren(render(blocks(this.#source, this.#links)));
  }

  #tick() {
    this.#frame = 0;
    const now = performance.now();
    if (now < this.#notBefore) {
      this.#frame = requestAnimationFrame(() => this.#tick());
      return;
    }
    this.#draw();
    const took = performance.now() - now;
    this.#notBefore = now + Math.min(took * SHARE, LONGEST_WAIT_MS);
  }

  #draw() {
    const source = this.#source.slice(this.#start);
    const tokens = blocks(source, this.#links);
    let last = tokens.length - 1;
    while (last > 0 && tokens[last].type === 'space') last -= 1;
    const finished = tokens.slice(0, Math.max(last, 0));
    const open = tokens.slice(Math.max(last, 0));
    this.#start += finished.reduce((length, token) => length + token.raw.length, 0);
    if (this.#code && finished[0]?.type === 'code') {
      // The block that was growing stays as it is, with what was selected or focused in it.
      this.#code.show(finished.shift().text);
      this.#code.finish();
      this.#code = null;
      this.#open = [];
    }
    if (finished.length) {
      this.#clear();
      this.#root.append(render(finished));
    }
    if (open[0]?.type === 'code') this.#grow(open[0]);
    else this.#replace(open);
  }

  /** @param {any} token an open code block */
  #grow(token) {
    const language = (token.lang ?? '').match(/^\S*/)[0];
    if (this.#code?.language !== language) {
      this.#clear();
      this.#code = { ...codeBlock(language), language };
      this.#open = [this.#code.element];
      this.#root.append(this.#code.element);
    }
    this.#code?.show(token.text);
  }

  /** @param {any[]} tokens */
  #replace(tokens) {
    const fragment = render(tokens);
    const nodes = [...fragment.childNodes];
    this.#clear();
    this.#root.append(fragment);
    this.#open = nodes;
  }

  #clear() {
    for (const node of this.#open) /** @type {ChildNode} */ (node).remove();
    this.#open = [];
    this.#code = null;
  }
}
