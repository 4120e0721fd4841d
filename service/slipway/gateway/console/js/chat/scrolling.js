import { byId } from '../ui/dom.js';

/** How near the end, in pixels, still counts as being at the end. */
const NEAR = 48;

/** Keeps the newest text in view while it is written, unless the person has scrolled away from it. */
export class Follower {
  #scroll = byId('scroll');
  #latest = byId('latest');
  #following = true;
  #top = 0;

  constructor() {
    this.#scroll.addEventListener('scroll', () => this.#look(), { passive: true });
    this.#latest.addEventListener('click', () => {
      this.follow();
      byId('question').focus();
    });
    const observer = new ResizeObserver(() => (this.#following ? this.#toEnd() : this.#look()));
    observer.observe(byId('turns'));
    observer.observe(this.#scroll);
  }

  /** Goes to the end and stays there. */
  follow() {
    this.#following = true;
    this.#toEnd();
  }

  #toEnd() {
    this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }

  /** Text that grows leaves the end behind without anyone scrolling: only a way up ends the following. */
  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroll;
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    if (near) this.#following = true;
    else if (scrollTop < this.#top) this.#following = false;
    this.#top = scrollTop;
    this.#latest.hidden = near || this.#following;
  }
}
