// Links and the Back button change the state of the page without loading it anew: the query of the address is the state.
(() => {
  const page = () => document.getElementById("page");
  const push = history.pushState.bind(history);
  const text = search => new URLSearchParams(search);

  const follow = () => {
    const query = text(location.search);
    const theme = query.get("theme") === "dark" ? "dark" : "light";
    const view = query.get("call") ? "call" : "overview";
    const moved = page().dataset.view !== view;
    page().dataset.theme = theme;
    page().dataset.view = view;
    document.documentElement.style.colorScheme = theme;
    for (const link of document.querySelectorAll("a[data-page]")) {
      const along = page().dataset.shared.split(" ").filter(name => query.has(name)).map(name => [name, query.get(name)]);
      link.href = link.dataset.page + (along.length ? `?${new URLSearchParams(along)}` : "");
    }
    document.getElementById("theme").textContent = theme === "dark" ? "Light theme" : "Dark theme";
    if (moved) {
      scrollTo(0, 0);
      requestAnimationFrame(() => dispatchEvent(new Event("resize")));
    }
  };
  history.pushState = (state, title, url) => {
    const to = new URL(url, location.href);
    if (to.searchParams.has("again")) {
      return;
    }
    if (to.href !== location.href) {
      push(state, title, url);
    }
    follow();
  };
  const model = () => {
    for (const doc of window.Bokeh?.documents ?? []) {
      const found = doc.roots().find(root => root.type.endsWith("Location"));
      if (found) {
        return found;
      }
    }
    return null;
  };
  const go = search => {
    const found = model();
    if (found === null) {
      location.search = search;
    } else if (found.search === search) {
      history.pushState({}, "", location.pathname + search);
    } else {
      found.search = search;
    }
  };
  // A link says which parts it changes, so that one made a moment ago does not take back what changed since.
  const target = link => {
    const wanted = text(link.getAttribute("href"));
    const names = link.dataset.go.split(" ").filter(Boolean);
    if (names.length === 0) {
      return link.getAttribute("href");
    }
    const query = text(location.search);
    for (const name of names) {
      if (wanted.has(name)) {
        query.set(name, wanted.get(name));
      } else {
        query.delete(name);
      }
    }
    return `?${query}`;
  };
  const again = () => {
    const query = text(location.search);
    query.set("again", String(Date.now()));
    go(`?${query}`);
  };

  addEventListener("popstate", () => { go(location.search); follow(); });
  document.addEventListener("click", event => {
    const link = event.composedPath().find(node => node instanceof HTMLAnchorElement);
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) {
      return;
    }
    if ("again" in link.dataset) {
      event.preventDefault();
      again();
    } else if ("go" in link.dataset) {
      event.preventDefault();
      go(target(link));
    }
  });
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("again").addEventListener("click", again);
    document.getElementById("theme").addEventListener("click", () => {
      const query = text(location.search);
      query.set("theme", page().dataset.theme === "dark" ? "light" : "dark");
      go(`?${query}`);
    });
    follow();
    let width = 0;
    new ResizeObserver(([entry]) => {
      if (width === 0 && entry.contentRect.width > 0) {
        dispatchEvent(new Event("resize"));
      }
      width = entry.contentRect.width;
    }).observe(document.querySelector(".grid"));
  }, { once: true }); // the module loader that comes with Panel sends the event a second time
})();
