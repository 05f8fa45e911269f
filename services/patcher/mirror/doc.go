// Package mirror decides what the mirror of the custom resources is to hold and which writes lead there.
//
// The mirror is the bucket fleet-resources: one key per resource, its value the resource trimmed to
// what the operator reads. The reconciler deletes what runs on devices because of what it finds there,
// so the mirror errs on the side of saying too little:
//
//	resource                                  mirror
//	ours (finalizers on it), or deleting  →   its value
//	finalizers missing, or refused        →   as it was; where nothing was, a placeholder: it is there
//	gone, the entry said deleting         →   tombstone, cause deleted
//	gone, the entry said anything else    →   tombstone, cause vanished
//	none, and never was one               →   nothing
//
// A key is never just deleted, and an entry that somebody else wrote (not under the epoch of then)
// is rewritten and its word is not taken: whatever it said, its resource can only have vanished.
//
// [Want] is what a resource asks for, [Entry] what the bucket holds, [Difference] the writes between
// them. Applying the difference leaves an empty difference, and the order of what came before does not
// matter. The package is pure: resources and entries in, values and writes out.
package mirror
