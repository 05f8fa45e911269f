package projection

import "time"

// stamp is a server's time in nanoseconds since 1970: a third of the size of a time.Time, of which
// there is one for each pair. Zero is no stamp.
type stamp int64

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return 0
	}
	return stamp(t.UnixNano())
}

func (s stamp) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(s)).UTC()
}

// Origin says where a value stands in its stream.
type Origin struct {
	Revision uint64    // sequence in the stream
	At       time.Time // the server's stamp; zero when no device wrote the value, which is no sign of life then
}

// origin is an Origin as it is kept. The zero value stands for a key that is not in view.
type origin struct {
	revision uint64
	at       stamp
}

func originOf(o Origin) origin { return origin{revision: o.Revision, at: stampOf(o.At)} }

func (o origin) export() Origin { return Origin{Revision: o.revision, At: o.at.time()} }

func (o origin) inView() bool { return o.revision != 0 }

// heard reports whether the device has written under the key, as far as is known.
func (o origin) heard() bool { return o.at != 0 }
