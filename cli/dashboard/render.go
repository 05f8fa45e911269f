package dashboard

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"regexp"
	"strconv"
	"time"

	"harmony.dev/cli/picture"
	"harmony.dev/fleet"
)

//go:embed templates
var templateFiles embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp": stamp, "clock": clock, "old": old, "bar": bar, "tally": tally, "cells": cells, "cell": cell, "density": density,
	"grid": gridHTML, "standing": standing, "short": short, "words": words, "percent": percent, "lag": lag, "held": heldDeletes,
	"conditions": conditions, "brake": brakeOf, "when": whenOf, "selector": selectorWords, "plural": plural, "ago": ago,
}).ParseFS(templateFiles, "templates/*.gohtml"))

// rendered is a section of a page.
type rendered struct {
	ID   string `json:"id"`
	Hash string `json:"hash"` // of all but the time that it is as of
	HTML string `json:"html"`
	asOf string // that time, as an element
}

// asOfElement is the time that a section is as of. It changes with each answer, and is sent by itself.
var asOfElement = regexp.MustCompile(`<time id="when-[^>]*>[^<]*</time>`)

// freshness is what a section says of its source.
type freshness struct {
	ID    string
	Fresh fleet.Freshness
	Got   time.Time
}

// whenOf returns the freshness of a part, for the section of that id.
func whenOf(id string, part any) (freshness, error) {
	switch p := part.(type) {
	case picture.Part[[]fleet.DeploymentView]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[[]fleet.DeviceSummary]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[fleet.DeploymentsGetResponse]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[fleet.DeploymentExplainResponse]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[fleet.DevicesGetResponse]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[fleet.DeviceVerdictsResponse]:
		return freshness{id, p.Fresh, p.Got}, nil
	case picture.Part[fleet.PlanShowResponse]:
		return freshness{id, p.Fresh, p.Got}, nil
	}
	return freshness{}, fmt.Errorf("%T is no part", part)
}

// renderSections renders the sections of a page, except for the grid of devices.
func renderSections(v *view) ([]rendered, error) {
	var out []rendered
	for _, list := range [][]string{always, v.page.sections} {
		for _, id := range list {
			if id == "grid" {
				continue
			}
			r, err := renderSection(v, id)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func renderSection(v *view, id string) (rendered, error) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, id, v); err != nil {
		return rendered{}, fmt.Errorf("render %s: %w", id, err)
	}
	at := asOfElement.Find(b.Bytes())
	return rendered{ID: id, Hash: hashOf(bytes.Replace(b.Bytes(), at, nil, 1)), HTML: b.String(), asOf: string(at)}, nil
}

func hashOf(b []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return strconv.FormatUint(h.Sum64(), 36)
}

// frameData is what the frame of a page is rendered from.
type frameData struct {
	*view
	Head, Main []rendered
}

// Have lists the sections in the page and their hashes, for the stream to begin with.
func (f frameData) Have() string {
	text := ""
	for _, list := range [][]rendered{f.Head, f.Main} {
		for _, r := range list {
			text += r.ID + ":" + r.Hash + ","
		}
	}
	return text
}

// Safe returns the HTML of a section, which is the work of a template.
func (r rendered) Safe() template.HTML { return template.HTML(r.HTML) } //nolint:gosec // see above

func renderPage(v *view) ([]byte, error) {
	sections, err := renderSections(v)
	if err != nil {
		return nil, err
	}
	f := frameData{view: v, Head: sections[:len(always)], Main: sections[len(always):]}
	for _, id := range v.page.sections {
		if id == "grid" {
			g, err := renderSection(v, id)
			if err != nil {
				return nil, err
			}
			f.Main = append(f.Main, g)
		}
	}
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, "frame", f); err != nil {
		return nil, fmt.Errorf("render the frame: %w", err)
	}
	return b.Bytes(), nil
}

// What templates use.

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clock is the time of day for people; another day is named.
func clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if now := time.Now().UTC(); t.UTC().Format(time.DateOnly) != now.Format(time.DateOnly) {
		return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
	}
	return t.UTC().Format("15:04:05") + " UTC"
}

// ago is how long something lasted, in one unit or two.
func ago(from, to time.Time) string { return to.Sub(from).Round(time.Second).String() }

// old is what a section says whose source is silent: since when, "" while it is not.
func old(v *view, what string) string {
	since := func(err string, got, errSince time.Time) string {
		switch {
		case !v.P.Link.Connected:
			return "no connection to NATS since " + clock(v.P.Link.Since)
		case err == "":
			return ""
		case got.IsZero():
			return "not answered yet: " + err
		}
		return "not answered since " + clock(errSince) + ": " + err
	}
	aggregator, text := true, ""
	switch b := v.Body.(type) {
	case deploymentBody:
		text = since(b.Get.Err, b.Get.Got, b.Get.ErrSince)
		if what == "explain" {
			text = since(b.Explain.Err, b.Explain.Got, b.Explain.ErrSince)
		}
	case deviceBody:
		text = since(b.Get.Err, b.Get.Got, b.Get.ErrSince)
		if what == "verdicts" {
			text = since(b.Verdicts.Err, b.Verdicts.Got, b.Verdicts.ErrSince)
		}
	case picture.Part[fleet.PlanShowResponse]:
		aggregator, text = false, since(b.Err, b.Got, b.ErrSince)
	default:
		text = since(v.P.Deployments.Err, v.P.Deployments.Got, v.P.Deployments.ErrSince)
		if what == "operator" { // who of them is silent is told of each
			return since("", v.Now, v.Now)
		}
		if what == "devices" {
			text = since(v.P.Devices.Err, v.P.Devices.Got, v.P.Devices.ErrSince)
		}
	}
	if aggregator {
		return silent(v, fleet.ServiceAggregator, text)
	}
	return silent(v, fleet.ServiceReconciler, text)
}

// silent says that a service is silent, sooner than an answer of it is missed.
func silent(v *view, service, otherwise string) string {
	if otherwise != "" {
		return otherwise
	}
	for _, s := range v.P.Services {
		if s.Name == service && s.Silent() {
			return service + " does not answer since " + clock(s.Heard)
		}
	}
	return ""
}
