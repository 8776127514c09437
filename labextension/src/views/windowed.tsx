import { type KeyboardEvent, type ReactElement, useEffect, useLayoutEffect, useRef, useState } from 'react';

/** The part of a list that is drawn. */
export interface IWindow {
  readonly first: number;
  readonly last: number;
}

const AROUND = 8;
const UNSEEN_HEIGHT = 800;

/**
 * Which rows to draw.
 *
 * @param above how far the list's begin lies above the top of what is seen, in pixels; below zero where it lies beneath.
 * @param height how high that is which is seen.
 * @param row the height of a row.
 * @param count how many rows there are.
 */
export function windowOf(above: number, height: number, row: number, count: number): IWindow {
  const first = Math.min(Math.max(Math.floor(above / row) - AROUND, 0), Math.max(count - 1, 0));
  // Some rows are there even when the list lies far below what is seen, so that the Tab key reaches it.
  const last = Math.min(Math.max(Math.ceil((above + height) / row), first) + AROUND, count);
  return { first, last };
}

/** Where the row goes that a key asks for, or null for a key that moves nothing. */
export function moved(key: string, at: number, count: number, page: number): number | null {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: count - 1 }[
    key
  ];
  return to === undefined ? null : Math.min(Math.max(to, 0), count - 1);
}

interface IProps<T> {
  readonly items: readonly T[];
  readonly row: number;
  readonly label: string;
  readonly keyOf: (item: T) => string;
  readonly draw: (item: T, tabIndex: number) => ReactElement;
  /** Called when the end of the list comes near. */
  readonly more: () => void;
}

/** A list of which only the rows in sight are in the page; one stop of the Tab key, and arrows from row to row. */
export function Windowed<T>({ items, row, label, keyOf, draw, more }: IProps<T>): ReactElement {
  const node = useRef<HTMLUListElement>(null);
  const [{ first, last }, setWindow] = useState<IWindow>({ first: 0, last: Math.min(items.length, 30) });
  const [active, setActive] = useState(0);
  const focus = useRef(false);
  const count = items.length;

  // biome-ignore lint/correctness/useExhaustiveDependencies: other items may leave room for more of them
  useLayoutEffect(() => {
    const list = node.current;
    const scroller = list?.closest<HTMLElement>('.aiplat-Panel-body');
    if (!list || !scroller) {
      return;
    }
    const measure = () => {
      const outer = scroller.getBoundingClientRect();
      const above = outer.top - list.getBoundingClientRect().top;
      const found = windowOf(above, outer.height || UNSEEN_HEIGHT, row, count);
      setWindow(old => (old.first === found.first && old.last === found.last ? old : found));
      if (found.last >= count - AROUND) {
        more();
      }
    };
    measure();
    const sizes = new ResizeObserver(measure);
    sizes.observe(scroller);
    scroller.addEventListener('scroll', measure, { passive: true });
    return () => {
      sizes.disconnect();
      scroller.removeEventListener('scroll', measure);
    };
  }, [row, count, items, more]);

  useEffect(() => {
    if (focus.current) {
      const button = node.current?.querySelector<HTMLElement>(`[data-index="${active}"] button`);
      if (button) {
        focus.current = false;
        button.focus({ preventScroll: true });
      }
    }
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const list = node.current;
    const scroller = list?.closest<HTMLElement>('.aiplat-Panel-body');
    const to = moved(event.key, active, count, 10);
    if (to === null || !list || !scroller) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    focus.current = true;
    setActive(to);
    const begin = list.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop;
    const top = begin + to * row;
    if (top < scroller.scrollTop) {
      scroller.scrollTop = top;
    } else if (top + row > scroller.scrollTop + scroller.clientHeight) {
      scroller.scrollTop = top + row - scroller.clientHeight;
    }
  };

  const from = Math.min(first, Math.max(count - 1, 0));
  const at = Math.min(active, Math.max(count - 1, 0));
  const stop = at >= from && at < last ? at : from;
  return (
    <ul
      ref={node}
      className="aiplat-list aiplat-Calls"
      aria-label={label}
      style={{ height: count * row }}
      onKeyDown={onKeyDown}
      onFocus={event => {
        const index = event.target.closest<HTMLElement>('[data-index]')?.dataset.index;
        if (index !== undefined) {
          setActive(Number(index));
        }
      }}
    >
      {items.slice(from, last).map((item, index) => (
        <li
          key={keyOf(item)}
          data-index={from + index}
          aria-posinset={from + index + 1}
          aria-setsize={count}
          style={{ height: row, transform: `translateY(${(from + index) * row}px)` }}
        >
          {draw(item, from + index === stop ? 0 : -1)}
        </li>
      ))}
    </ul>
  );
}
