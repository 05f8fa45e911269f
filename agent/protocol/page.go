package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"

	"harmony.dev/fleet"
)

// DecodePage reads one page of a snapshot and checks it against the contract: names are legal and
// sorted, so that no entry is overlooked. Values are not judged. Errors wrap [fleet.ErrInvalid].
func DecodePage(b []byte) (fleet.Snapshot, error) {
	var s fleet.Snapshot
	if len(b) > fleet.MaxSnapshotPage {
		return s, fmt.Errorf("%w: snapshot page is %d bytes, at most %d are allowed", fleet.ErrInvalid, len(b), fleet.MaxSnapshotPage)
	}
	// An empty page of a complete snapshot ends every workload: it has to be said, not left out.
	if !bytes.Contains(b, []byte(`"complete"`)) || !bytes.Contains(b, []byte(`"asOf"`)) {
		return s, fmt.Errorf("%w: snapshot page does not say complete and asOf", fleet.ErrInvalid)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%w: parse snapshot page: %w", fleet.ErrInvalid, err)
	}
	return s, checkPage(s)
}

func checkPage(s fleet.Snapshot) error {
	if s.AsOf == 0 {
		return fmt.Errorf("%w: snapshot page without asOf", fleet.ErrInvalid)
	}
	if s.Unchanged && (len(s.Entries) > 0 || s.Next != "") {
		return fmt.Errorf("%w: snapshot page is unchanged but has entries", fleet.ErrInvalid)
	}
	var last fleet.DeploymentName
	for _, e := range s.Entries {
		if err := e.Deployment.Validate(); err != nil {
			return fmt.Errorf("snapshot entry: %w", err)
		}
		if e.Deployment <= last {
			return fmt.Errorf("%w: snapshot entries are not sorted", fleet.ErrInvalid)
		}
		last = e.Deployment
	}
	if s.Next != "" && s.Next < last {
		return fmt.Errorf("%w: snapshot goes on before its last entry", fleet.ErrInvalid)
	}
	return nil
}
