package main

import (
	"testing"
	"time"

	"harmony.dev/fleet"
)

func TestDeploymentPage(t *testing.T) {
	got := text(t, deploymentPage(fleet.DeploymentsGetResponse{
		Freshness: fleet.Freshness{AsOf: noon, Synced: true}, Truncated: true,
		Deployment: fleet.DeploymentView{
			Name: "web", UID: "u", Generation: 3, Deleting: true, ScoreType: "container",
			TargetSelector: fleet.Selector{
				MatchLabels:      map[string]string{"b": "2", "a": "1"},
				MatchExpressions: []fleet.SelectorRequirement{{Key: "arch", Operator: "In", Values: []string{"x", "y"}}},
			},
			Status: fleet.DeploymentStatus{
				ObservedGeneration: 3,
				Aggregate: fleet.Aggregate{
					MatchedDeviceCount: 7, Running: 5, Stale: 2, StaleLastKnown: fleet.StaleLastKnown{Running: 1, Failed: 1},
					LastError: &fleet.LastError{Device: "pi-1", Message: "no image", At: noon},
				},
				Conditions: []fleet.Condition{{Type: "Ready", Status: "True", Reason: "AllRunning", Message: "all"}},
			},
		},
		Pairs: []fleet.PairView{{Device: "pi-1", Class: fleet.ClassStale, LastKnown: fleet.ClassFailed}},
		Changes: []fleet.Change{
			{At: noon.Add(-time.Second), Kind: fleet.ChangeReported, Device: "pi-1"},
			{At: noon.Add(-2 * time.Second), Kind: fleet.ChangeReported, Device: "pi-2", Phase: fleet.PhaseRunning},
			{At: noon.Add(-3 * time.Second), Kind: fleet.ChangeApplied, Generation: 3},
			{At: noon.Add(-time.Hour), Kind: fleet.ChangeDesired, Device: "pi-1"},
		},
	}, false))
	want := `name         web
uid          u
generation   3, being deleted
selector     a=1
             b=2
             arch in (x,y)
score type   container
devices      7 matched: 5 running, 0 failed, 0 pending, 2 stale (last known 1 running, 1 failed, 0 pending)
last error   no image on pi-1 at 2026-03-01T12:00:00Z (its clock)
as of        2026-03-01T12:00:00Z

CONDITION   STATUS   REASON       MESSAGE
Ready       True     AllRunning   all

pairs: the first 1 of 7, those that need a look first
DEVICE   CLASS            DESIRED   REPORTED   AT (ITS CLOCK)   ERROR
pi-1     stale (failed)   -         -          -                -

last changes, the newest first
AT                     AGE       WHAT
2026-03-01T11:59:59Z   1s ago    pi-1 sent a malformed report
2026-03-01T11:59:58Z   2s ago    pi-2 reported Running
2026-03-01T11:59:57Z   3s ago    the last of generation 3 was written
2026-03-01T11:00:00Z   60m ago   its value was written for pi-1

why: fleet explain deployment web
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDevicePage(t *testing.T) {
	at := noon.Add(-3 * time.Minute)
	got := text(t, devicePage(fleet.DevicesGetResponse{
		Freshness: fleet.Freshness{AsOf: noon, Synced: true}, HeartbeatAt: &at, StaleAfterSeconds: 90,
		Device: fleet.DeviceView{
			Name: "pi-1", State: fleet.DeviceStale, LastSeen: &at, Registered: true, Deleting: true, Deployments: 1,
			Labels: map[string]string{"b": "", "a": "1"}, UID: "u",
		},
		Pairs: []fleet.PairView{{Deployment: "web", Class: fleet.ClassPending, DesiredHash: "aa"}},
	}, false))
	want := `name          pi-1
uid           u
state         Stale, last seen 3m ago, being deleted
last seen     2026-03-01T11:57:00Z (3m ago)
heartbeat     2026-03-01T11:57:00Z (3m ago)
info          never
stale after   1m30s of silence
registered    yes
quarantined   no
deleting      yes
agent         -
labels        a=1
              b=
inventory     -
deployments   1
as of         2026-03-01T12:00:00Z

pairs: 1
DEPLOYMENT   CLASS     DESIRED   REPORTED   AT (ITS CLOCK)   ERROR
web          pending   aa        -          -                -

why: fleet explain device pi-1
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
