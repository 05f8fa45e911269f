package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"
)

// restoreChunk is how much of an archive goes in one message, restoreReply how long the server may take for one, and
// restoreFinal how long once it has all of them. It gives up itself when none came for 5 s.
const (
	restoreChunk = 128 << 10
	restoreReply = 15 * time.Second
	restoreFinal = 10 * time.Minute
)

// restoreHails is how often the server that restores is asked whether it hears, and restoreHail how long for an answer.
const (
	restoreHails = 12
	restoreHail  = 500 * time.Millisecond
)

// s2Name is what every stream that is compressed with s2 begins with. It may come again anywhere in it.
const s2Name = "\xff\x06\x00\x00S2sTwO"

// Codes by which the server refuses to restore, and which pass.
const (
	codeNoPeers       uint16 = 10005 // a node of the cluster is not, or not yet, in sight
	codeClusterAway   uint16 = 10008 // the cluster has no leader for the moment
	codeStoreFailed   uint16 = 10049 // it is still removing the files of the stream before
	codeRestoreInUse  uint16 = 10130 // that stream is still there
	codeRestoreFailed uint16 = 10062 // whatever it was, in words
)

// passing reports whether a refusal passes by itself.
func passing(err error) bool {
	// The server may put one of the codes into words.
	return api.IsNatsErr(err, codeNoPeers, codeClusterAway, codeStoreFailed, codeNameInUse, codeRestoreInUse) ||
		api.IsNatsErr(err, codeRestoreFailed) && strings.Contains(err.Error(), "error adding stream")
}

// send has the server restore a stream from what write writes, and waits until it has.
func (r *Restore) send(ctx context.Context, cfg api.StreamConfig, write func(io.Writer) error, each func(bytes int)) (api.StreamState, error) {
	nc := r.bucket.nc
	resp, err := call[api.JSApiStreamRestoreResponse](ctx, nc, fmt.Sprintf(api.JSApiStreamRestoreT, cfg.Name), api.JSApiStreamRestoreRequest{Config: cfg})
	if err != nil {
		return api.StreamState{}, err
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(noEnd(write(pw))) }()
	defer func() { _ = pr.CloseWithError(context.Canceled) }() // ends the goroutine when not all was read
	if err := hail(ctx, nc, resp.DeliverSubject); err != nil {
		return api.StreamState{}, err
	}
	if err := sendChunks(ctx, nc, resp.DeliverSubject, pr, each); err != nil {
		return api.StreamState{}, err
	}
	m, err := roundTripWithin(ctx, nc, &nats.Msg{Subject: resp.DeliverSubject}, restoreFinal)
	if err != nil {
		return api.StreamState{}, apiError(err)
	}
	var done api.JSApiStreamCreateResponse
	if err := json.Unmarshal(m.Data, &done); err != nil {
		return api.StreamState{}, fmt.Errorf("decode answer: %w", err)
	}
	if err := apiError(done.ToError()); err != nil || done.StreamInfo == nil {
		return api.StreamState{}, errors.Join(err, errors.New("the server did not restore the archive"))
	}
	return done.State, nil
}

// hail waits until the server that restores hears what is sent to it: in a cluster it may be another one than ours, which does
// not know at once that it listens. A part that was lost must not be sent again, since it may have come; but the name of the
// format may be repeated.
func hail(ctx context.Context, nc *nats.Conn, subject string) error {
	for attempt := 1; ; attempt++ {
		err := sendChunk(ctx, nc, subject, []byte(s2Name), restoreHail)
		unheard := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders)
		if !unheard || attempt == restoreHails || ctx.Err() != nil {
			return err
		}
		rest(ctx, watchEvery)
	}
}

// noEnd makes of an error one that nobody takes for the end of the archive.
func noEnd(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the archive: %w", err)
}

func sendChunks(ctx context.Context, nc *nats.Conn, subject string, archive io.Reader, each func(bytes int)) error {
	sent := 0
	chunk := make([]byte, min(restoreChunk, int(nc.MaxPayload())))
	for {
		n, err := io.ReadFull(archive, chunk)
		if n > 0 {
			if err := sendChunk(ctx, nc, subject, chunk[:n], restoreReply); err != nil {
				return err
			}
			sent += n
			each(sent)
		}
		// What wraps one of them is a file that broke.
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sendChunk sends a part of an archive. The server answers with nothing when it could take it.
func sendChunk(ctx context.Context, nc *nats.Conn, subject string, chunk []byte, within time.Duration) error {
	m, err := roundTripWithin(ctx, nc, &nats.Msg{Subject: subject, Data: chunk}, within)
	if err != nil {
		return fmt.Errorf("send a part of the archive on %s: %w", subject, apiError(err))
	}
	if len(m.Data) == 0 {
		return nil
	}
	var resp api.JSApiResponse
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return apiError(resp.ToError())
}
