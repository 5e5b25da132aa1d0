// Package dialect holds what the dialects share: packages that answer the documented APIs of other systems on the
// control plane's Service, so that clients of those systems manage webhooks here unchanged. Each is a folder below with
//
//	func New(svc *control.Service, opts Options) http.Handler
//	func Patterns() []string // of http.ServeMux, to mount it under
//
// It is not an API itself, and decides nothing about webhooks: the rules are those of the Service.
package dialect
