package dialect

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/sidehook/sidehook/control"
)

// bodyWithin is how long the body of a request may take.
const bodyWithin = 10 * time.Second

// BoundBody bounds the body of a request in size, by control.MaxBody, and in time.
func BoundBody(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, control.MaxBody)
	// Not every connection can have a deadline; then the server's own bounds it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin))
}

// ReadBody reads a body of at most control.MaxBody bytes and says of which media type it is, empty when there is no
// Content-Type. Errors are for RefusalOf.
func ReadBody(w http.ResponseWriter, r *http.Request) (mediaType string, body []byte, err error) {
	if given := r.Header.Get("Content-Type"); given != "" {
		if mediaType, _, err = mime.ParseMediaType(given); err != nil {
			return "", nil, Refuse(http.StatusUnsupportedMediaType, "the Content-Type cannot be read")
		}
	}
	BoundBody(w, r)
	if body, err = io.ReadAll(r.Body); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", nil, err
		}
		return "", nil, Refuse(http.StatusBadRequest, fmt.Sprintf("the body cannot be read to its end within %s", bodyWithin))
	}
	return mediaType, body, nil
}

var crossOrigin = http.NewCrossOriginProtection()

// CheckOrigin refuses what a page of another site makes a browser send: with Basic credentials, browsers add those by
// themselves. changes says that the request changes something, whatever its method.
func CheckOrigin(r *http.Request, changes bool) error {
	if !changes {
		return nil
	}
	asPost := *r
	asPost.Method = http.MethodPost // so that a GET that changes something is looked at, too
	if err := crossOrigin.Check(&asPost); err != nil {
		return Refuse(http.StatusForbidden, "a page of another origin cannot do that")
	}
	return nil
}
