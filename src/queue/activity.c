#include "queue/activity.h"

#include "base/clock.h"
#include "base/text.h"

static void set(struct activity *activity, const struct activity_view *view)
{
    mutex_lock(&activity->lock);
    activity->view = *view;
    mutex_unlock(&activity->lock);
}

void activity_init(struct activity *activity)
{
    mutex_init(&activity->lock);
    activity_end(activity);
}

void activity_fini(struct activity *activity)
{
    mutex_fini(&activity->lock);
}

void activity_begin(struct activity *activity, struct entry *entry)
{
    struct activity_view view = {
        .busy = true,
        .kind = entry->kind,
        .stage = entry->stage,
        .since_ms = clock_monotonic_ms(),
    };
    text_copy(view.id, sizeof view.id, entry->item.id);
    text_copy(view.agent, sizeof view.agent,
        entry->agent_slug[0] != '\0' ? entry->agent_slug : entry->agent_id);
    entry->activity = activity;
    set(activity, &view);
}

void activity_enter(struct activity *activity, enum entry_stage stage)
{
    if (activity == NULL)
        return;
    int64_t now_ms = clock_monotonic_ms();
    mutex_lock(&activity->lock);
    activity->view.stage = stage;
    activity->view.since_ms = now_ms;
    mutex_unlock(&activity->lock);
}

void activity_name_agent(struct activity *activity, const char *slug)
{
    if (activity == NULL || slug[0] == '\0')
        return;
    mutex_lock(&activity->lock);
    text_copy(activity->view.agent, sizeof activity->view.agent, slug);
    mutex_unlock(&activity->lock);
}

void activity_end(struct activity *activity)
{
    const struct activity_view idle = {.since_ms = clock_monotonic_ms()};
    set(activity, &idle);
}

void activity_look(struct activity *activity, struct activity_view *view)
{
    mutex_lock(&activity->lock);
    *view = activity->view;
    mutex_unlock(&activity->lock);
}
