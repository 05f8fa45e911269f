package kube

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestInformer_AnApiserverThatDoesNotAnswerIsAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := NewInformer(InformerConfig{Kind: Deployments})
		answered := i.ask()
		time.Sleep(unanswered / 2)
		if r := i.Reason(); r != nil {
			t.Errorf("at once: %+v", r)
		}
		time.Sleep(unanswered)
		if r := i.Reason(); r == nil || r.Reason != ReasonAPIUnreachable {
			t.Errorf("after a while: %+v", r)
		}
		answered()
		if r := i.Reason(); r != nil {
			t.Errorf("answered: %+v", r)
		}
	})
}
