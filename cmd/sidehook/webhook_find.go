package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidehook/sidehook"
	"github.com/sidehook/sidehook/internal/client"
)

// beginWith connects, finds the app, and in it the webhook that is given by its id or its name.
func (w *webhooks) beginWith(cmd *cobra.Command, given string) (c *client.Client, app, id string, err error) {
	if c, app, err = w.begin(cmd); err != nil {
		return c, app, "", err
	}
	if id, err = findWebhook(cmd.Context(), c, app, given); err != nil {
		c.Close()
		return nil, "", "", err
	}
	return c, app, id, nil
}

// onWebhook asks the control plane about the webhook that is given by its id or its name. verb is for the error: what cannot
// be done to the webhook.
func onWebhook[T any](w *webhooks, cmd *cobra.Command, given, verb string, ask func(ctx context.Context, c *client.Client, app, id string) (T, error)) (T, error) {
	c, app, id, err := w.beginWith(cmd, given)
	if err != nil {
		var none T
		return none, err
	}
	defer c.Close()
	answer, err := ask(cmd.Context(), c, app, id)
	if err != nil {
		err = fmt.Errorf("cannot %s webhook %s: %w", verb, given, err)
	}
	return answer, err
}

// findWebhook returns the id of a webhook of the app that is given by its id or, where no webhook has that id, by its whole
// name. What is neither, and has the form of an id, is returned as it is: a webhook that is gone may have left deliveries.
func findWebhook(ctx context.Context, c *client.Client, app, given string) (string, error) {
	isID := sidehook.ValidName(given)
	if isID {
		switch _, err := c.Webhook(ctx, app, given); {
		case err == nil:
			return given, nil
		case !errors.Is(err, sidehook.ErrNotFound):
			return "", fmt.Errorf("cannot get webhook %s: %w", given, err)
		}
	}
	all, err := c.Webhooks(ctx, app)
	switch {
	case isID && errors.Is(err, sidehook.ErrNotFound): // the app, as what is asked for next says too
		return given, nil
	case err != nil:
		return "", fmt.Errorf("cannot find webhook %q: %w", printable(given), err)
	}
	var ids []string
	for _, webhook := range all {
		if webhook.Name == given {
			ids = append(ids, printable(webhook.ID))
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], nil
	case len(ids) > 1:
		return "", fmt.Errorf("several webhooks of app %s are called %q; say which by its id: %s", app, printable(given), strings.Join(ids, ", "))
	case isID:
		return given, nil
	}
	return "", fmt.Errorf("app %s has no webhook with the id or name %q; see sidehook webhook list", app, printable(given))
}
