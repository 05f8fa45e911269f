package main

import (
	"errors"
	"fmt"

	"harmony.dev/cli/wish"
	"harmony.dev/fleet"
)

// stateInvalid is the state of what cannot be applied, beside those of [fleet.CandidateState].
const stateInvalid fleet.CandidateState = "invalid"

// preview is what would come of some Deployments in files.
type preview struct {
	Items     []previewItem `json:"items"`
	LeftAside []leftAside   `json:"leftAside,omitempty"`
}

// previewItem is one of them.
type previewItem struct {
	File       string                  `json:"file"`
	Line       int                     `json:"line"`
	Deployment fleet.DeploymentName    `json:"deployment,omitempty"`
	State      fleet.CandidateState    `json:"state,omitempty"`
	Error      string                  `json:"error,omitempty"`
	Warning    string                  `json:"warning,omitempty"`
	Plan       *fleet.PlanShowResponse `json:"plan,omitempty"`

	candidate *fleet.Candidate // to be asked about
}

// leftAside is a document that is not planned.
type leftAside struct {
	File       string `json:"file"`
	Line       int    `json:"line"`
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name,omitempty"`
	Why        string `json:"why"`
}

func (a leftAside) text() string {
	return fmt.Sprintf("%s:%d: %s %s %s is left aside: %s", a.File, a.Line, a.APIVersion, a.Kind, a.Name, a.Why)
}

// sortWishes says which documents are to be planned. Own is the namespace of the fleet, or "" when no document names one.
func sortWishes(docs []wish.Document, own string) (preview, error) {
	p := preview{Items: []previewItem{}}
	seen := map[string]wish.Document{}
	for _, d := range docs {
		why := ""
		switch {
		case !d.Ours():
			why = "it is no Deployment of the fleet (" + wish.APIVersion + ")"
		case d.Namespace != "" && d.Namespace != own:
			why = fmt.Sprintf("it is of namespace %s, and this fleet is %s", d.Namespace, own)
		}
		if why != "" {
			p.LeftAside = append(p.LeftAside, leftAside{File: d.File, Line: d.Line, APIVersion: d.APIVersion, Kind: d.Kind, Name: d.Name, Why: why})
			continue
		}
		if first, twice := seen[d.Name]; twice && d.Name != "" {
			return p, fmt.Errorf("deployment %s is there twice, at %s and at %s: only the last would stay", d.Name, first.Where(), d.Where())
		}
		seen[d.Name] = d
		w := previewItem{File: d.File, Line: d.Line, Deployment: fleet.DeploymentName(d.Name), candidate: d.Candidate}
		if d.Err != nil {
			w.refuse(d.Err)
		}
		p.Items = append(p.Items, w)
	}
	return p, nil
}

// refuse says why it cannot be applied.
func (w *previewItem) refuse(err error) {
	w.State, w.Error = stateInvalid, err.Error()
	if e, ok := errors.AsType[*fleet.Error](err); ok {
		w.Error = e.Message
	}
}

// accept takes the reconciler's plan.
func (w *previewItem) accept(got fleet.PlanShowResponse) {
	w.State, w.Plan, w.Warning = got.Candidate, &got, warning(w.Deployment, got)
}

// muchPercent is the part of its devices that a Deployment may lose without a warning: what the brake, too, takes for
// much.
const muchPercent = 20

// warning says what to look at twice. The brake does not hold what an edited selector causes.
func warning(name fleet.DeploymentName, got fleet.PlanShowResponse) string {
	free := got.LostCount - got.HeldCount
	switch {
	case got.Candidate == fleet.CandidateDeleting:
		return fmt.Sprintf("%s is being deleted: applying it does not keep it; apply it again when it is gone", name)
	case free <= 0 || free*100 <= muchPercent*got.KeyCount:
		return ""
	}
	return fmt.Sprintf("it takes %s from %d of the %s that have it (%d %%), and nothing holds that back: the brake lets an edited selector pass, as your wish",
		name, free, plural(got.KeyCount, "device"), free*100/max(got.KeyCount, 1))
}

func (p preview) count(state fleet.CandidateState) int {
	n := 0
	for _, w := range p.Items {
		if w.State == state {
			n++
		}
	}
	return n
}

// changes reports whether applying would change a Deployment.
func (p preview) changes() bool {
	return p.count(fleet.CandidateNew)+p.count(fleet.CandidateChanged) > 0
}
