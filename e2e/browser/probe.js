// Runs before any script of a page, and keeps what its test asks for.
(() => {
  const probe = { violations: [], shifts: [], changes: [] };
  Object.defineProperty(globalThis, '__probe', { value: probe });

  addEventListener('securitypolicyviolation', e => {
    probe.violations.push(`policy: ${e.effectiveDirective} was broken by ${e.blockedURI} (${e.sourceFile}:${e.lineNumber} ${e.sample})`);
  });

  // The element that a node is or is in, from its nearest ancestor with an id: "#dep-web > td.running".
  const place = node => {
    let e = node instanceof Element ? node : node.parentElement;
    const path = [];
    for (; e && !e.id; e = e.parentElement) {
      path.unshift([e.localName, ...e.classList].join('.'));
    }
    if (e) path.unshift('#' + e.id);
    return path.join(' > ') || '(removed)';
  };

  new PerformanceObserver(list => {
    for (const e of list.getEntries()) {
      probe.shifts.push({ value: e.value, at: e.startTime, places: e.sources.map(s => s.node ? place(s.node) : '(removed)') });
    }
  }).observe({ type: 'layout-shift', buffered: true });

  const changes = new MutationObserver(records => {
    for (const r of records) {
      probe.changes.push(`${place(r.target)}: ${r.type === 'attributes' ? r.attributeName : r.type}`);
    }
  });
  probe.watch = () => {
    changes.takeRecords();
    probe.changes.length = probe.shifts.length = 0;
    changes.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  };
})();
