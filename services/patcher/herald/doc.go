// Package herald tells people of transitions of Deployments, by Kubernetes Events.
//
//	a status was written ──▶ Note ──▶ one transition for each Deployment ──▶ once it has lasted ──▶ Events
//
// A transition is told when it has lasted for a while: from what the Deployment was before the first step to what it is
// then, so that there and back again is no news. What comes while it waits, for its time or for the rate, changes it, has to
// last in its turn, though not for ever, and adds nothing. So there is at most one waiting for each Deployment, a bounded number in all, and a storm of
// changes, as when all devices fall silent, is told at a rate that leaves most of
// the writes that the apiserver takes to the statuses.
//
// What is not promised: that everything is told. Events are for people; the truth is in the status. What was written when
// the process ends, or by a write whose answer was lost, is not told, and an Event that the apiserver does not take
// is not tried again. Nothing waits for an Event, and a status that is not written tells nothing: restarts are silent.
package herald
