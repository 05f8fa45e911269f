package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"

	"harmony.dev/fleet"
)

// Probe asks an instance of a service how it is, by HTTP: also while it has no way to NATS.
func (i *Instance) Probe(ctx context.Context) (h fleet.Health, err error) {
	address, err := i.address()
	if err != nil {
		return h, fmt.Errorf("find where %s listens: %w", i.id, err)
	}
	url := "http://" + address + "/readyz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return h, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, fmt.Errorf("probe %s: %w", i.id, err)
	}
	defer resp.Body.Close()
	return h, json.NewDecoder(resp.Body).Decode(&h)
}

// address is where the instance serves HTTP, if it does yet.
func (i *Instance) address() (string, error) {
	if i.http != nil {
		return i.http(), nil
	}
	text, err := os.ReadFile(i.addressFile())
	return strings.TrimSpace(string(text)), err
}
