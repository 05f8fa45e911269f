package dashboard

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"harmony.dev/fleet"
)

// writeWithin is how long a browser may take to read what it is sent.
const writeWithin = 5 * time.Second

// stream sends one page what has changed of it.
type stream struct {
	w     http.ResponseWriter
	out   *http.ResponseController
	have  map[string]string // hash of each section that the browser has
	asOf  map[string]string // the time that each section is as of
	cells []fleet.DeviceSummary
	full  bool   // the browser has the grid of cells
	said  string // the notice that the browser has
}

// events sends a page its changes, once in each round, until the browser leaves:
//
//	fragment  {"id": …, "hash": …, "html": …}   a section that came out otherwise
//	when      ["id", "<time …>"]                 the time that a section is as of, which is otherwise unchanged
//	cells     [["pi-07", "failed"], …]          devices that are shown as something else
//	notice    "why"                             what the page is about cannot be shown; "": it can again
//	tick      the server's time                 always: without it the page is not live
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	page, err := url.Parse(r.URL.Query().Get("page"))
	if err != nil {
		http.Error(w, "page is no path", http.StatusBadRequest)
		return
	}
	if _, _, ok := route(page.Path); !ok {
		http.Error(w, "there is no such page", http.StatusNotFound)
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	st := stream{w: w, out: http.NewResponseController(w), have: haveOf(r.URL.Query().Get("have")), asOf: map[string]string{}}
	tick := time.NewTicker(s.cfg.Every)
	defer tick.Stop()
	for {
		if err := s.update(r, &st, page); err != nil {
			return // the browser has left, or does not read
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// haveOf reads the list that frameData.Have wrote.
func haveOf(list string) map[string]string {
	have := map[string]string{}
	for part := range strings.SplitSeq(list, ",") {
		if id, hash, ok := strings.Cut(part, ":"); ok {
			have[id] = hash
		}
	}
	return have
}

// update sends what has changed since the last update.
func (s *Server) update(r *http.Request, st *stream, page *url.URL) error {
	v, missing := s.view(r, page.Path, page.Query())
	if err := st.out.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if missing != nil { // what every page shows is true all the same
		v.page.sections = nil
	}
	if err := st.sections(v); err != nil {
		return err
	}
	if err := st.notice(missing); err != nil {
		return err
	}
	if err := st.send("tick", time.Now().UTC()); err != nil {
		return err
	}
	return st.out.Flush()
}

func (st *stream) sections(v *view) error {
	sections, err := renderSections(v)
	if err != nil {
		return err
	}
	for _, x := range sections {
		if st.have[x.ID] == x.Hash {
			if err := st.when(x); err != nil {
				return err
			}
			continue
		}
		st.asOf[x.ID] = x.asOf
		st.have[x.ID] = x.Hash
		if err := st.send("fragment", x); err != nil {
			return err
		}
	}
	for _, id := range v.page.sections {
		if id == "grid" {
			return st.grid(v)
		}
	}
	return nil
}

// notice sends why the page's own sections cannot be shown, once.
func (st *stream) notice(missing error) error {
	text := ""
	if missing != nil {
		text = missing.Error()
	}
	if text == st.said {
		return nil
	}
	st.said = text
	return st.send("notice", text)
}

// when sends the time that a section is as of, which is otherwise unchanged.
func (st *stream) when(x rendered) error {
	if x.asOf == st.asOf[x.ID] {
		return nil
	}
	st.asOf[x.ID] = x.asOf
	return st.send("when", [2]string{"when-" + x.ID, x.asOf})
}

// grid sends the cells that changed, or all when the devices are others than those that the browser has.
func (st *stream) grid(v *view) error {
	is := v.P.Devices.Value
	changed, same := changedCells(st.cells, is)
	if !st.full || !same {
		x, err := renderSection(v, "grid")
		if err != nil {
			return err
		}
		st.cells, st.full = is, true
		if st.have["grid"] == x.Hash {
			return nil
		}
		st.have["grid"] = x.Hash
		return st.send("fragment", x)
	}
	st.cells = is
	if len(changed) == 0 {
		return nil
	}
	st.have["grid"] = ""
	return st.send("cells", changed)
}

// send writes one event.
func (st *stream) send(event string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = fmt.Fprintf(st.w, "event: %s\ndata: %s\n\n", event, data)
	return err
}
