// Package device decides what becomes of the labels that a device reports.
//
// The labels of a Device resource have several authors: the device reports some, people and tools set
// others. The apiserver keeps account of who set what (managedFields, KEP-555); the patcher applies
// the reported ones server-side under a field manager of their own, [LabelManager]. From that account
// follows, without any state here:
//
//   - a reported label is applied iff the resource has no such label, or the label is ours alone
//   - a label that somebody else set, or set as well, is theirs: it is left out of what is applied
//   - a label that the device no longer reports is left out too, and so the apiserver removes it
//
// The package is pure: resources in, decisions out.
package device
