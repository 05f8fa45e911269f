package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

func TestThere_ANewResourceOfTheNameIsAnother(t *testing.T) {
	broken := errors.New("no answer")
	now := map[string]types.UID{"same": "1", "anew": "9"}
	uid := func(_ context.Context, name string) (types.UID, error) {
		if name == "broken" {
			return "", broken
		}
		if u, ok := now[name]; ok {
			return u, nil
		}
		return "", apierrors.NewNotFound(Devices.GroupResource(), name)
	}
	all := []Resource{{"same", "1"}, {"gone", "2"}, {"anew", "3"}}
	if rest, err := there(t.Context(), all, uid); err != nil || !slices.Equal(names(rest), []string{"same"}) {
		t.Errorf("left are %v, %v", rest, err)
	}
	all = []Resource{{"same", "1"}, {"gone", "2"}, {"broken", "4"}, {"anew", "3"}}
	if rest, err := there(t.Context(), all, uid); !errors.Is(err, broken) || !slices.Equal(names(rest), []string{"same", "broken", "anew"}) {
		t.Errorf("without an answer: left are %v, %v", rest, err)
	}
}
