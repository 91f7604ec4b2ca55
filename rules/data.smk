# Data sets: generated shapes, unpacked CIFAR archives, and the manifest of every split.
DRAWN, UNPACKED = plan.made()


rule shapes:
    """The demo's generated data set"""
    output:
        root=directory("<results>/data/{dataset}/images"),
    log:
        "<logs>/shapes/{dataset}.log",
    benchmark:
        "<benchmarks>/shapes/{dataset}.tsv"
    wildcard_constraints:
        dataset=one_of(DRAWN),
    conda:
        "../envs/classlens.yaml"
    threads: 4
    resources:
        mem_mb=ram(1),
        runtime=30,
    params:
        **program("shapes.py", lambda wildcards: of_dataset(wildcards).shapes_step()),
    message:
        "Drawing the data set {wildcards.dataset}"
    shell:
        COMMAND


rule cifar:
    """CIFAR images, unpacked from the official archive"""
    output:
        folder=directory("<results>/data/{dataset}/images/{split}"),
    log:
        "<logs>/cifar/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/cifar/{dataset}/{split}.tsv"
    wildcard_constraints:
        dataset=one_of(UNPACKED),
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(2),
        runtime=60,
    params:
        **program(
            "cifar.py",
            lambda wildcards: of_dataset(wildcards).archive_step(wildcards.split),
            places=archive,
            content=lambda wildcards: of_dataset(wildcards).archive_content(),
        ),
    message:
        "Unpacking the images of {wildcards.dataset}, {wildcards.split}"
    shell:
        COMMAND


rule manifest:
    """The manifest of a split; this job decodes every image once to check it"""
    input:
        made_images,
    output:
        manifest="<results>/data/{dataset}/{split}/manifest.parquet",
    log:
        "<logs>/manifest/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/manifest/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 4
    resources:
        mem_mb=ram(2),
        runtime=120,
    params:
        **program(
            "manifest.py",
            lambda wildcards: of_dataset(wildcards).manifest_step(wildcards.split),
            places=layout,
            content=lambda wildcards: of_dataset(wildcards).manifest_content(wildcards.split),
        ),
    message:
        "Checking the images of {wildcards.dataset}, {wildcards.split}"
    shell:
        COMMAND


rule classes:
    """The class list of a data set, for models with weights or a class embedding from a file"""
    input:
        made_images,
    output:
        class_list="<results>/data/{dataset}/{split}/classes.parquet",
    log:
        "<logs>/classes/{dataset}/{split}.log",
    benchmark:
        "<benchmarks>/classes/{dataset}/{split}.tsv"
    conda:
        "../envs/classlens.yaml"
    threads: 1
    resources:
        mem_mb=ram(2),
        runtime=10,
    params:
        **program(
            "classes.py",
            lambda wildcards: of_dataset(wildcards).class_step(wildcards.split),
            places=class_layout,
            content=lambda wildcards: of_dataset(wildcards).class_content(),
        ),
    message:
        "Listing the classes of {wildcards.dataset}"
    shell:
        COMMAND
