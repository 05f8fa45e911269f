package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"harmony.dev/fleet"
)

// Type is the type of score whose data steers the simulation.
const Type = "sim"

// behaviour says what becomes of workloads.
type behaviour struct {
	seed     uint64
	delay    Range
	failRate float64
}

// outcome is how long a workload takes, and why it fails (nil: it does not).
type outcome struct {
	delay   time.Duration
	failure error
}

var errSimulated = errors.New("simulated failure")

// apply returns what becomes of a value on a device. It is the same each time.
func (b behaviour) apply(device fleet.DeviceID, deployment fleet.DeploymentName, d fleet.Desired) outcome {
	r := draw(b.seed, "apply", string(device), string(deployment), d.UID, d.Score.Type, string(d.Score.Data))
	o := outcome{delay: b.delay.draw(r)}
	if r.Float64() < b.failRate {
		o.failure = errSimulated
	}
	if d.Score.Type == Type && len(d.Score.Data) > 0 {
		o.steer(d.Score.Data)
	}
	return o
}

// remove returns how long it takes to end a workload.
func (b behaviour) remove(device fleet.DeviceID, deployment fleet.DeploymentName) time.Duration {
	return b.delay.draw(draw(b.seed, "remove", string(device), string(deployment)))
}

// steer lets the data of a score decide.
func (o *outcome) steer(data json.RawMessage) {
	var s struct {
		Fail  any    `json:"fail"` // true, or a message
		Delay string `json:"delay"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		o.failure = fmt.Errorf("read data of the simulated workload: %w", err)
		return
	}
	switch fail := s.Fail.(type) {
	case bool:
		o.failure = nil
		if fail {
			o.failure = errSimulated
		}
	case string:
		o.failure = errors.New(fail)
	}
	if s.Delay == "" {
		return
	}
	delay, err := time.ParseDuration(s.Delay)
	if err != nil {
		o.failure = fmt.Errorf("read delay of the simulated workload: %w", err)
		return
	}
	o.delay = delay
}

func (r Range) draw(rng *rand.Rand) time.Duration {
	return r.Min + time.Duration(rng.Float64()*float64(r.Max-r.Min))
}

// draw returns a source of randomness that is the same for the same seed and words.
func draw(seed uint64, words ...string) *rand.Rand {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, seed))
	for _, w := range words {
		h.Write([]byte(strconv.Quote(w)))
	}
	var sum [32]byte
	h.Sum(sum[:0])
	return rand.New(rand.NewChaCha8(sum))
}

func one(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }
