// Command go is a receiver in Go: POST /standard, /standard-ed25519, /twenty, /hmac or /token. It answers 204 when the
// request is genuine and 401 when it is not. The secrets are in the environment. Each scheme has a file that stands
// alone, to be copied; there is no library here.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const maxBody = 1 << 20

var routes = map[string]func(header http.Header, body []byte) bool{
	"/standard": func(header http.Header, body []byte) bool {
		return VerifyStandard(os.Getenv("STANDARD_SECRET"), header, body, time.Now())
	},
	"/standard-ed25519": func(header http.Header, body []byte) bool {
		return VerifyStandardEd25519(os.Getenv("STANDARD_PUBLIC_KEY"), header, body, time.Now())
	},
	"/twenty": func(header http.Header, body []byte) bool {
		return VerifyTwenty(os.Getenv("TWENTY_SECRET"), header, body, time.Now())
	},
	"/hmac": func(header http.Header, body []byte) bool {
		return VerifyHMAC(os.Getenv("HMAC_SECRET"), header, body, time.Now())
	},
	"/token": func(header http.Header, _ []byte) bool {
		return VerifyToken(os.Getenv("TOKEN"), header)
	},
}

func receive(w http.ResponseWriter, r *http.Request) {
	verify := routes[r.URL.Path]
	if r.Method != http.MethodPost || verify == nil {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case !verify(r.Header, body):
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func run() error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "0"
	}
	lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	fmt.Printf("listening http://%s\n", lis.Addr())
	server := &http.Server{Handler: http.HandlerFunc(receive), ReadTimeout: time.Minute}
	return server.Serve(lis)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
