package record

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"harmony.dev/fleet"
)

// Config says what a recorder reads.
type Config struct {
	NATS      *nats.Conn        // of its own, or at least not cut by the scenario
	Resources dynamic.Interface // straight to the apiserver
	Namespace string
}

// Recorder records until it is stopped. Its methods may be called from any goroutine.
type Recorder struct {
	cfg    Config
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	events Recording
}

// Buckets are all buckets of a fleet.
func Buckets() []string {
	return []string{
		fleet.BucketDesiredState, fleet.BucketResources, fleet.BucketLeases,
		fleet.BucketDeviceInfo, fleet.BucketDeviceState, fleet.BucketDeviceHeartbeat,
	}
}

// Resources are the operator's resources in the Kubernetes API, by kind.
func Resources() map[string]schema.GroupVersionResource {
	of := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: fleet.Group, Version: fleet.Version, Resource: resource}
	}
	return map[string]schema.GroupVersionResource{
		fleet.KindDeployment: of(fleet.ResourceDeployments), fleet.KindDevice: of(fleet.ResourceDevices),
	}
}

// Start starts to record.
func Start(cfg Config) *Recorder {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{cfg: cfg, cancel: cancel}
	for _, bucket := range Buckets() {
		r.wg.Go(func() { (&streamTap{recorder: r, bucket: bucket}).run(ctx) })
	}
	for kind, resource := range Resources() {
		r.wg.Go(func() { (&resourceTap{recorder: r, kind: kind, resource: resource}).run(ctx) })
	}
	r.wg.Go(func() { r.sampleHealth(ctx) })
	return r
}

// Stop ends the recording and returns it. It can be called again.
func (r *Recorder) Stop() Recording {
	r.cancel()
	r.wg.Wait()
	return r.Recording()
}

// Add records an event, now.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.At = time.Now()
	r.events = append(r.events, e)
}

// Recording returns what was recorded so far.
func (r *Recorder) Recording() Recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// pause waits, and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
