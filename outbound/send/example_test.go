package send_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/outbound/send"
)

func ExampleClient_Do() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "got %s with %s", body, r.Header.Get("webhook-id"))
	}))
	defer receiver.Close()

	client := send.New(send.Options{Guard: send.NewGuard(send.GuardOptions{AllowLoopback: true})})
	defer client.Close()
	endpoint, err := send.ParseEndpoint(receiver.URL + "/in")
	if err != nil {
		fmt.Println(err)
		return
	}
	var resp send.Response // may be used again
	err = client.Do(context.Background(), &send.Request{
		URL:     endpoint,
		Headers: []sidehook.Header{{Key: "webhook-id", Value: "evt_1"}},
		Body:    []byte(`{"a":1}`),
	}, 5*time.Second, &resp)
	fmt.Println(resp.Status, string(resp.Body), err)
	// Output: 200 got {"a":1} with evt_1 <nil>
}

// Without an option that says otherwise, addresses that are not public are refused.
func ExampleGuard() {
	client := send.New(send.Options{})
	defer client.Close()
	endpoint, _ := send.ParseEndpoint("http://169.254.169.254/latest/meta-data/")
	_, err := client.Send(context.Background(), &send.Request{URL: endpoint}, time.Second)
	fmt.Println(err)
	// Output: 169.254.169.254 is a cloud metadata address, which deliveries may not go to; list its range in outbound.allow_cidrs to allow it
}
