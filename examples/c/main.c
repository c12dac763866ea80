/* Use a compiled model from C: two instances, in two threads at once.
 *
 * The model is mlp.onnx of make_model.py: y = softmax(relu(x W1 + b1) W2 + b2) for any number
 * of rows. Its header and object (or library) are made by tfc-compile; see the Makefile.
 */

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "mlp.h"

enum { RUNS = 50 };

struct task {
    int64_t rows;
    double sum;
    int error;
};

/* Run the model RUNS times on some rows; every row of the output sums to 1. */
static void *work(void *argument)
{
    struct task *task = argument;
    size_t inputs = (size_t)mlp_x_ELEMENTS(task->rows), outputs = (size_t)mlp_y_ELEMENTS(task->rows);
    float *x = malloc(inputs * sizeof *x), *y = malloc(outputs * sizeof *y);
    mlp_model *model = NULL;
    mlp_args args = {0};

    task->error = x && y ? mlp_create(&model, 0) : -1;
    for (size_t i = 0; x && i < inputs; i++)
        x[i] = (float)(i % 255) / 255.0f;
    args.batch = task->rows;
    args.x = x;
    args.y = y;
    for (int run = 0; run < RUNS && !task->error; run++)
        task->error = mlp_call(model, &args);
    for (size_t i = 0; i < outputs && !task->error; i++)
        task->sum += (double)y[i];
    mlp_destroy(model);
    free(x);
    free(y);
    return NULL;
}

int main(void)
{
    struct task tasks[2] = {{.rows = 3}, {.rows = 64}};
    pthread_t threads[2];

    if (mlp_abi() != mlp_ABI) {
        fprintf(stderr, "mlp.h is of another version than the model\n");
        return 1;
    }
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, work, &tasks[i]))
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        if (tasks[i].error) {
            fprintf(stderr, "rows %d: %s\n", (int)tasks[i].rows, mlp_error(tasks[i].error));
            return 1;
        }
        printf("%d rows: the outputs sum to %.3f\n", (int)tasks[i].rows, tasks[i].sum);
        if (fabs(tasks[i].sum - (double)tasks[i].rows) > 1e-3 * (double)tasks[i].rows)
            return 1;
    }
    return 0;
}
