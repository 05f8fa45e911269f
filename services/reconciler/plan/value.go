package plan

import "harmony.dev/fleet"

// Value is one desired-state value. Equal values of one [State] are one Value: a pair costs a pointer,
// and comparing two values is comparing pointers.
type Value struct {
	Bytes []byte // not to be changed
	Hash  string // fleet.Hash of the bytes
	valid bool   // it decodes: agents can read it
	refs  int
}

// values interns the values in use.
type values map[string]*Value

// use returns the Value with these bytes and counts one more user.
func (v values) use(b []byte) *Value {
	if known := v[string(b)]; known != nil {
		known.refs++
		return known
	}
	_, err := fleet.DecodeDesired(b)
	fresh := &Value{Bytes: b, Hash: fleet.Hash(b), valid: err == nil, refs: 1}
	v[string(b)] = fresh
	return fresh
}

// drop takes one user off; nil is nobody's.
func (v values) drop(x *Value) {
	if x == nil {
		return
	}
	if x.refs--; x.refs == 0 {
		delete(v, string(x.Bytes))
	}
}
