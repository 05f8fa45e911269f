// Package record writes down what happens in a stack while a scenario runs: every operation on the
// operator's streams, every write to its resources, what happened to processes, what they said of
// themselves, and the faults. Package invariant judges a recording afterwards.
//
// The recorder reads the streams and the apiserver directly, on connections that no fault of a scenario
// cuts on purpose. It is a reader like any other: a message that is overwritten before the recorder reads
// it is not seen, and [Op.Missed] says how many were not.
package record
