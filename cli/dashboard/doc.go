// Package dashboard serves the fleet as web pages.
//
//	NATS ── watcher ── picture ──┬── page: the whole of it, readable without JavaScript
//	        (a round of          └── events: what of the page has changed since, once a second
//	        questions at a time)
//
// A page is a few sections, each rendered by the server alone. The stream of a page (server-sent events) renders its
// sections again and sends those that came out otherwise, which a script puts in place node by node; of the grid of
// devices it sends the cells that changed. So what is shown never depends on what the browser saw before.
//
// Whatever is shown may have been written by a device: everything goes through html/template, and the policy of the
// pages runs no script and no style but the two files that are served here. It is read only, unless it was started with
// a token: then whoever logs in with it may approve a hold and forget a device.
package dashboard
