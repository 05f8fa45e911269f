package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/micro"

	"harmony.dev/fleet"
	"harmony.dev/fleet/fleettest"
	"harmony.dev/services/reconciler/plan"
	"harmony.dev/services/reconciler/view"
)

func TestSnapshot_PagesDigestAndWhoAsks(t *testing.T) {
	s := newStack(t)
	s.device("big", nil)
	s.device("small", nil, "size", "small")
	s.device("out", func(e *fleet.MirrorDevice) { e.Quarantined = true })
	const large = 20
	for i := range large {
		s.deployment(fmt.Sprintf("p%02d", i), 1, strings.Repeat("x", 50<<10), func(e *fleet.MirrorDeployment) {
			e.TargetSelector = fleet.Selector{MatchExpressions: []fleet.SelectorRequirement{{Key: "size", Operator: "DoesNotExist"}}}
		})
	}
	s.deployment("web", 1, "a", nil, "size", "small")
	s.whole()
	r := s.start(settings{instance: "one", incompleteFor: 0})
	s.rest(r)

	s.complete("big")
	hashes, after, pages := map[fleet.DeploymentName]string{}, fleet.DeploymentName(""), 0
	for {
		page := s.answered("big", fleet.SnapshotRequest{After: after})
		if n := len(mustJSON(t, page)); n > fleet.MaxSnapshotPage {
			t.Errorf("a page of %d bytes", n)
		}
		if !page.Complete || page.AsOf == 0 {
			t.Errorf("page as of %d, complete %v", page.AsOf, page.Complete)
		}
		for _, e := range page.Entries {
			hashes[e.Deployment] = fleet.Hash(e.Value)
			if e.Sequence != s.tap.revision("big."+string(e.Deployment)) || string(e.Value) != s.tap.get("big."+string(e.Deployment)).value {
				t.Errorf("%s is not what is stored", e.Deployment)
			}
		}
		if pages++; page.Next == "" {
			break
		}
		after = page.Next
	}
	if len(hashes) != large || pages < 3 {
		t.Errorf("%d entries on %d pages", len(hashes), pages)
	}
	if got := s.answered("big", fleet.SnapshotRequest{Digest: fleet.Digest(hashes)}); !got.Unchanged || len(got.Entries) != 0 {
		t.Errorf("a matching digest: %d entries, unchanged %v", len(got.Entries), got.Unchanged)
	}
	delete(hashes, "p00")
	if got := s.answered("big", fleet.SnapshotRequest{Digest: fleet.Digest(hashes)}); got.Unchanged || len(got.Entries) == 0 {
		t.Errorf("another digest: %d entries, unchanged %v", len(got.Entries), got.Unchanged)
	}
	if got := s.answered("small", fleet.SnapshotRequest{}); len(got.Entries) != 1 || got.Entries[0].Deployment != "web" {
		t.Errorf("small is told %+v", got.Entries)
	}
	if got := s.complete("out"); len(got.Entries) != 0 {
		t.Errorf("a quarantined device is told %+v", got)
	}
	if _, err := s.ask("nobody", fleet.SnapshotRequest{}); fleet.CodeOf(err) != fleet.CodeNotFound {
		t.Errorf("a device without a resource: %v", err)
	}
	if _, err := s.ask("UPPER", fleet.SnapshotRequest{}); fleet.CodeOf(err) != fleet.CodeInvalid {
		t.Errorf("an illegal id: %v", err)
	}
}

func TestSnapshot_IncompleteWhileAStreamIsYoung(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.device("out", func(e *fleet.MirrorDevice) { e.Quarantined = true })
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one", incompleteFor: 6 * time.Second})
	s.rest(r)
	if got := s.answered("d1", fleet.SnapshotRequest{}); got.Complete || len(got.Entries) != 1 {
		t.Errorf("of a young stream: %+v", got)
	}
	s.complete("out") // a quarantined device need not wait until the stream is old
	if got := s.answered("d1", fleet.SnapshotRequest{}); got.Complete {
		t.Error("of a young stream, when another device was answered completely")
	}
	s.complete("d1")
	if _, err := s.nc.Request("$JS.API.STREAM.PURGE."+fleet.StreamName(fleet.BucketDesiredState), nil, soon); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, soon, "it is young again after a purge", func() bool {
		got, err := s.ask("d1", fleet.SnapshotRequest{})
		return err == nil && len(got.Entries) == 1 && !got.Complete
	})
	s.complete("d1")
}

func TestSnapshot_AWholeFleetAsksAtOnce(t *testing.T) {
	s := newStack(t)
	const agents = 1000
	ids := s.devices(agents)
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one"})
	s.rest(r)
	s.answered(ids[0], fleet.SnapshotRequest{})
	var wg sync.WaitGroup
	results := make(chan error, agents)
	for _, id := range ids {
		wg.Go(func() {
			_, err := s.ask(id, fleet.SnapshotRequest{})
			results <- err
		})
	}
	wg.Wait()
	close(results)
	for err := range results {
		if err != nil {
			t.Fatalf("an agent is answered %v", err)
		}
	}
}

// A device that asks in a loop, or with more than a request is, has no more of the holder than another.
func TestSnapshot_OneDeviceTakesItsShareOnly(t *testing.T) {
	s := newStack(t)
	s.device("d1", nil)
	s.device("d2", nil)
	s.deployment("web", 1, "a", nil)
	s.whole()
	r := s.start(settings{instance: "one"})
	s.rest(r)
	s.answered("d1", fleet.SnapshotRequest{})

	greedy, modest := make(chan error, 20), make(chan error, 1)
	r.view.Do(func(*plan.State, view.Now) { // whoever has a place waits
		for range cap(greedy) {
			go func() {
				_, err := s.ask("d1", fleet.SnapshotRequest{})
				greedy <- err
			}()
		}
		for range cap(greedy) - 2 {
			if err := <-greedy; fleet.CodeOf(err) != fleet.CodeBusy {
				t.Errorf("a device that has its share: %v", err)
			}
		}
		go func() {
			_, err := s.ask("d2", fleet.SnapshotRequest{})
			modest <- err
		}()
		m, err := s.nc.Request(fleet.DesiredSubject("d2"), []byte("{"+strings.Repeat(" ", 1<<10)+"}"), soon)
		if err != nil || m.Header.Get(micro.ErrorCodeHeader) != "400" {
			t.Errorf("a request that is too large: %+v, %v", m, err)
		}
	})
	if err := <-modest; err != nil {
		t.Errorf("another device: %v", err)
	}
}
