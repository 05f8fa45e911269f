package kube

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"harmony.dev/fleet"
)

// Why the apiserver is of no use, and what people can do about it.
const (
	ReasonCRDMissing       = "CRDMissing"
	ReasonAPIForbidden     = "APIForbidden"
	ReasonAPIUnauthorized  = "APIUnauthorized"
	ReasonAPIBusy          = "APIBusy"
	ReasonAPIFailing       = "APIFailing"
	ReasonAPIUnreachable   = "APIUnreachable"
	ReasonNamespaceMissing = "NamespaceMissing"
)

// reading explains why a list or watch of a kind did not work.
func reading(k Kind, namespace, verb string, err error) *fleet.Reason {
	switch {
	case apierrors.IsNotFound(err):
		return reasonf(ReasonCRDMissing, "the apiserver does not know %s: apply deploy/crds (kubectl apply -f deploy/crds)", k.crd())
	case apierrors.IsForbidden(err):
		return reasonf(ReasonAPIForbidden, "not allowed to %s %s in namespace %s: grant it by a Role and RoleBinding (%v)", verb, k.crd(), namespace, err)
	case apierrors.IsUnauthorized(err):
		return reasonf(ReasonAPIUnauthorized, "the apiserver does not accept the credentials of the kubeconfig or service account (%v)", err)
	case apierrors.IsTooManyRequests(err):
		return reasonf(ReasonAPIBusy, "the apiserver asks for fewer requests; trying again (%v)", err)
	case isStatus(err):
		return reasonf(ReasonAPIFailing, "the apiserver cannot %s %s; trying again (%v)", verb, k.crd(), err)
	}
	return reasonf(ReasonAPIUnreachable, "cannot reach the apiserver to %s %s; trying again (%v)", verb, k.crd(), err)
}

// ReasonRefused is that of a write which the apiserver, or an admission webhook, does not want about
// this resource. It says nothing about others.
const ReasonRefused = "Refused"

// Refusal translates the error of a write into what an endpoint answers. Only 503 and 429 concern all
// writes: no other resource would fare better now.
//
//	the namespace does not exist                             503 NamespaceMissing
//	the resource is not in the state that the write was for  409 Conflict
//	any other refusal of this resource                       500 Refused
//	too many writes, also by the patcher's own limit         429 APIBusy
//	credentials are not accepted                             503 APIUnauthorized
//	no answer, or none but that it cannot answer now         503 APIUnreachable
func Refusal(what string, err error) *fleet.Error {
	switch {
	case isNamespaceMissing(err):
		return fleet.Errorf(fleet.CodeUnavailable, ReasonNamespaceMissing, "%s: %s", what, namespaceMissing(err))
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err), isOtherUID(err):
		return fleet.Errorf(fleet.CodeConflict, "Conflict", "%s: the resource has changed since: %v", what, err)
	case apierrors.IsTooManyRequests(err), errors.Is(err, errLimited):
		return fleet.Errorf(fleet.CodeBusy, ReasonAPIBusy, "%s: too many writes: %v", what, err)
	case apierrors.IsUnauthorized(err):
		return fleet.Errorf(fleet.CodeUnavailable, ReasonAPIUnauthorized, "%s: the apiserver does not accept the patcher's credentials: %v", what, err)
	case isAbsent(err):
		return fleet.Errorf(fleet.CodeUnavailable, ReasonAPIUnreachable, "%s: cannot reach the apiserver: %v", what, err)
	}
	return fleet.Errorf(fleet.CodeInternal, ReasonRefused, "%s: the apiserver refuses it: %v", what, err)
}

// isAbsent reports whether the apiserver did not answer, or what stands before it did in its place.
func isAbsent(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	switch status.Status().Code {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return apierrors.IsServerTimeout(err)
}

// isNamespaceMissing reports whether something cannot be created because its namespace does not exist. To
// lists that is an empty one.
func isNamespaceMissing(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces"
}

// namespaceMissing says what to do about it.
func namespaceMissing(err error) string {
	name := "NAME"
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil {
		name = status.Status().Details.Name
	}
	return fmt.Sprintf("the namespace of the fleet does not exist: create it (kubectl create namespace %s), or correct --fleet (%v)", name, err)
}

// isOtherUID reports whether a patch was about another resource of the same name: to the apiserver that
// is an attempt to change its uid.
func isOtherUID(err error) bool {
	cause, found := apierrors.StatusCause(err, metav1.CauseTypeFieldValueInvalid)
	return found && cause.Field == "metadata.uid"
}

// isStatus reports whether the apiserver itself answered.
func isStatus(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status)
}

func reasonf(reason, format string, args ...any) *fleet.Reason {
	return &fleet.Reason{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
