// Package acting answers the requests of the other two services to change custom resources.
//
// The patcher decides nothing: it checks that the request may still be obeyed, and writes it down unless
// it is written already. A request passes these gates, in this order:
//
//	it is well-formed (package rpc checks that)                 else 400
//	this replica holds the lease                                else silence: the holder answers
//	it comes from the service that it belongs to                else 400
//	this replica has read the apiserver since it took the lease else 503
//	the sender's epoch is the revision of `_epoch` in the sender's bucket                   else 412
//	it is about the resource as it is: uid, generation, a newer seq                         else 409, or gone
//	it does not lower observedGeneration, a status only                                     else 409
//
// So observedGeneration never decreases for one uid: who waited for it was told the truth. Only one above
// metadata.generation may be lowered: the apiserver was restored from a backup, and it is about a wish
// that never was.
//
// Requests about the same resource are handled one after the other, the epoch is looked at in between:
// what a deposed sender asked for late cannot overtake its successor. Writes carry the uid and the
// version of the state they were computed from. When that has changed the answer is 409 and nothing is
// tried again: the sender knows its current state, this package does not. What the apiserver refuses
// about one resource is a 500 with the reason Refused; 503 and 429 concern all, see [kube.Refusal].
package acting
