/* Train a network in C: the model of make_training.py, one call a step.
 *
 * The losses are those of Python (losses.txt). Half way a checkpoint is written; in the end the training
 * goes back to it, and the same steps give the same losses again. Python reads the checkpoint too:
 * tf.train.load_checkpoint("checkpoint").
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train.h"

enum { STEPS = 60, HALF = 30 };

static float points[train_x_ELEMENTS];
static int32_t labels[train_label_ELEMENTS];
static float losses[STEPS];

static int check(const char *what, int error)
{
    if (error)
        fprintf(stderr, "%s: %s\n", what, train_error(error));
    return error;
}

/* Run the steps from `first` on. */
static int steps(train_model *model, int first, float *loss_of)
{
    float loss = 0.0f;
    train_args args = {0};
    args.x = points;
    args.label = labels;
    args.loss = &loss;
    for (int i = first; i < STEPS; i++) {
        if (i == HALF && first == 0 && check("save", train_save(model, "checkpoint")))
            return 1;
        if (check("step", train_step(model, &args)))
            return 1;
        loss_of[i] = loss;
    }
    return 0;
}

int main(void)
{
    float again[STEPS] = {0};
    train_model *model = NULL;
    FILE *data = fopen("data.bin", "rb"), *expected = fopen("losses.txt", "r");

    if (!data || !expected || fread(points, sizeof points, 1, data) != 1 || fread(labels, sizeof labels, 1, data) != 1) {
        fprintf(stderr, "data.bin and losses.txt are written by make_training.py\n");
        return 1;
    }
    fclose(data);
    if (check("create", train_create(&model, 0)) || steps(model, 0, losses))
        return 1;
    for (int i = 0; i < STEPS; i++) {
        double wanted;
        if (fscanf(expected, "%lf", &wanted) != 1 || fabs(wanted - (double)losses[i]) > 1e-5) {
            fprintf(stderr, "step %d: Python has another loss than %f\n", i, (double)losses[i]);
            return 1;
        }
    }
    fclose(expected);
    if (check("restore", train_restore(model, "checkpoint")) || steps(model, HALF, again))
        return 1;
    if (memcmp(again + HALF, losses + HALF, (STEPS - HALF) * sizeof *losses)) {
        fprintf(stderr, "the steps after the checkpoint differ when they are repeated\n");
        return 1;
    }
    printf("loss %.3f at first, %.3f after %d steps, as in Python\n", (double)losses[0], (double)losses[STEPS - 1], STEPS);
    train_destroy(model);
    return 0;
}
